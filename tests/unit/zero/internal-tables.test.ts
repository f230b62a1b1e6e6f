import { describe, expect, it } from 'vitest'
import {
  addedColumns,
  internalProblems,
  internalRole,
  internalTables,
  isInternal,
  readShard,
} from '../../../src/connectors/sinks/zero/internal-tables.ts'
import type { Slot, TableVersion, VersionColumn } from '../../../src/connectors/sinks/zero/table-version.ts'

const shard = { appID: 'zero', shardNum: 0 }
const [clients, mutations, permissions] = internalTables(shard)

const column = (name: string, encoding: VersionColumn['encoding'] = 'string'): Slot => {
  return { id: name, name, dataType: 'text', notNull: true, encoding, missing: null }
}

function own(
  name: 'clients' | 'mutations' | 'permissions',
  key: readonly Slot[],
  slots: readonly (Slot | null)[],
): TableVersion {
  const schema = name === 'permissions' ? 'zero' : 'zero_0'
  return { source: `${schema}.${name}`, schema, name, key, slots }
}

const group = [column('clientGroupID'), column('clientID')]
const messages = (internal: typeof clients, table: TableVersion) => {
  return internalProblems(internal!, table).map(({ message }) => message.replace(/.* but /, ''))
}

describe('a shard', () => {
  it('is read from the query of a connection', () => {
    expect(readShard('my_app2', '7')).toEqual({ appID: 'my_app2', shardNum: 7 })
    expect(readShard(null, null)).toEqual({ appID: 'zero', shardNum: 0 })
  })

  it.each([
    ['', '0'],
    ['Zero', '0'],
    ['a-b', '0'],
    ['a.b', '0'],
    ['é', '0'],
    ['a"b', '0'],
    ['zero', ''],
    ['zero', '-1'],
    ['zero', '1.5'],
    ['zero', '01'],
    ['zero', '99999999999'],
    ['zero', '1e3'],
  ])('is refused as %j %j', (appID, shardNum) => {
    expect(readShard(appID, shardNum)).toHaveProperty('refused')
  })
})

describe('the internal tables', () => {
  it('have the names that zero-cache asks for', () => {
    const names = internalTables({ appID: 'app', shardNum: 3 }).map(({ schema, name }) => `${schema}.${name}`)
    expect(names).toEqual(['app_3.clients', 'app_3.mutations', 'app.permissions'])
  })

  it('have the columns that zero-cache asks for, and a key without NULLs', () => {
    const shapes = internalTables(shard).map(({ key, columns }) => [
      key.join(),
      columns.map(({ name, dataType, notNull }) => `${name} ${dataType}${notNull ? '!' : ''}`).join(),
    ])
    expect(shapes).toEqual([
      ['clientGroupID,clientID', 'clientGroupID text!,clientID text!,lastMutationID int8!,userID text'],
      [
        'clientGroupID,clientID,mutationID',
        'clientGroupID text!,clientID text!,mutationID int8!,mutation jsonb,result jsonb',
      ],
      ['lock', 'lock boolean!,permissions jsonb,hash text'],
    ])
  })

  it('are told from all others by their names', () => {
    expect(internalRole({ schema: 'zero_0', name: 'clients' })?.role).toBe('clients')
    expect(internalRole({ schema: 'my_app_12', name: 'mutations' })?.role).toBe('mutations')
    expect(internalRole({ schema: 'my_app', name: 'permissions' })?.role).toBe('permissions')
    expect(internalRole({ schema: 'my_app_12', name: 'permissions' })?.role).toBe('permissions')
    for (const [schema, name] of [
      ['public', 'clients'],
      ['zero', 'clients'],
      ['zero_0', 'replicas'],
      ['Zero', 'permissions'],
    ]) {
      expect(internalRole({ schema: schema!, name: name! })).toBeNull()
    }
    expect(isInternal(shard, { schema: 'zero_0', name: 'clients' })).toBe(true)
    expect(isInternal(shard, { schema: 'zero_1', name: 'clients' })).toBe(false)
    expect(isInternal(shard, { schema: 'other', name: 'permissions' })).toBe(false)
  })
})

describe("a source's own internal table", () => {
  it('may have more, and gets what Zero asks for and never reads', () => {
    const table = own(
      'mutations',
      [...group, column('mutationID', 'integer')],
      [column('result', 'json'), null, column('at', 'timestamp')],
    )
    expect(messages(mutations, table)).toEqual([])
    expect(addedColumns(mutations!, table).map(({ name }) => name)).toEqual(['mutation'])
    const smaller = own('clients', group, [column('lastMutationID', 'integer')])
    expect(addedColumns(clients!, smaller).map(({ name }) => name)).toEqual(['userID'])
    expect(addedColumns(clients!, { ...smaller, slots: [...smaller.slots, column('userID')] })).toEqual([])
  })

  it('may key the one row of permissions as it likes', () => {
    const table = own(
      'permissions',
      [column('id', 'integer')],
      [column('permissions', 'json'), column('hash')],
    )
    expect(messages(permissions, table)).toEqual([])
  })

  it('is refused with the complete list', () => {
    const table = own(
      'mutations',
      [column('clientID'), column('clientGroupID', 'integer')],
      [column('mutationId', 'integer'), column('mutation')],
    )
    expect(messages(mutations, table)).toEqual([
      'column "clientGroupID" must be of the Zero type string and is number',
      'column "mutationID" is missing, although there is "mutationId"',
      'column "mutation" must be of the Zero type json and is string',
      'column "result" is missing',
      'the key must be (clientGroupID, clientID, mutationID) and is (clientID, clientGroupID)',
    ])
    expect(
      messages(
        clients,
        own('clients', [column('clientID')], [column('clientGroupID'), column('lastMutationID', 'integer')]),
      ),
    ).toEqual(['the key must be (clientGroupID, clientID) and is (clientID)'])
  })
})
