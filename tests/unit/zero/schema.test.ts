import {
  boolean,
  createSchema,
  enumeration,
  json,
  number,
  relationships,
  string,
  table,
} from '@rocicorp/zero'
import { describe, expect, it } from 'vitest'
import { schemaProblems, wantedOf, wantedTables } from '../../../src/connectors/sinks/zero/schema.ts'
import type { Slot, TableVersion } from '../../../src/connectors/sinks/zero/table-version.ts'

const author = table('author')
  .from('authors')
  .columns({
    id: string(),
    fullName: string().from('full_name').optional(),
    age: number().optional(),
    active: boolean(),
    extra: json<{ a: number }>(),
    kind: enumeration<'a' | 'b'>(),
  })
  .primaryKey('id')
const member = table('member')
  .from('app.members')
  .columns({ team: string().from('team_id'), user: number() })
  .primaryKey('user', 'team')
const note = table('note').from('public.notes').columns({ id: number() }).primaryKey('id')
const schema = createSchema({
  tables: [author, member, note],
  relationships: [
    relationships(author, ({ many }) => ({
      notes: many({ sourceField: ['id'], destField: ['id'], destSchema: note }),
    })),
  ],
})

const slot = (name: string): Slot => {
  return { id: name, name, dataType: 'text', notNull: true, encoding: 'string', missing: null }
}

function served(
  source: string,
  zero: { schema: string; name: string },
  key: readonly string[],
): TableVersion {
  return { source, ...zero, key: key.map(slot), slots: [slot('other')] }
}

function refusal(input: unknown): readonly string[] {
  let thrown: unknown = null
  try {
    wantedTables(input, 'it')
  } catch (error) {
    thrown = error
  }
  expect(thrown).toMatchObject({ code: 'zero/schema-malformed' })
  const [first, ...rest] = (thrown as Error).message.split('\n  ')
  expect(first).toBe('it is no Zero schema')
  return rest
}

describe('a Zero schema', () => {
  it.each([
    ['as createSchema returns it', schema],
    ['as JSON', JSON.parse(JSON.stringify(schema)) as unknown],
  ])('%s gives what clients want, by the names of the server', (_, input) => {
    const wanted = wantedTables(input, 'it')
    expect([...wanted.keys()]).toEqual(['authors', 'app.members', 'notes'])
    expect(Object.fromEntries(wanted.get('authors')!.columns)).toEqual({
      id: { type: 'string', optional: false },
      full_name: { type: 'string', optional: true },
      age: { type: 'number', optional: true },
      active: { type: 'boolean', optional: false },
      extra: { type: 'json', optional: false },
      kind: { type: 'string', optional: false },
    })
    expect(wanted.get('authors')!.primaryKey).toEqual(['id'])
    expect(wanted.get('app.members')!.primaryKey).toEqual(['user', 'team_id'])
  })

  it.each([[null], [[]], ['{}'], [undefined]])('is not %j', (input) => {
    expect(refusal(input)).toEqual(['the schema: must be an object'])
  })

  it('is refused with the complete list', () => {
    const broken = {
      tables: {
        a: {
          name: 'a',
          columns: { id: { type: 'string' }, x: { type: 'null' }, y: 5 },
          primaryKey: ['idd', 'x', 7],
        },
        b: {
          name: 'a',
          columns: { id: { type: 'string' }, z: { type: 'json', serverName: 'id' } },
          primaryKey: [],
        },
        c: { name: 5, serverName: '', columns: [] },
        d: null,
      },
    }
    expect(refusal(broken)).toEqual([
      'tables.a.columns.x.type: must be one of string, number, boolean, json',
      'tables.a.columns.y.type: must be one of string, number, boolean, json',
      'tables.a.primaryKey.0: must be a column of the table; did you mean "id"?',
      'tables.a.primaryKey.2: must be a column of the table',
      'tables.b: is called "a" on the server, as another table is',
      'tables.b.columns.z: is called "id" on the server, as another column is',
      'tables.b.primaryKey: must be a list of columns, at least one',
      'tables.c.name: must be text',
      'tables.c.serverName: must be text',
      'tables.c.columns: must be an object',
      'tables.c.primaryKey: must be a list of columns, at least one',
      'tables.d: must be an object',
    ])
    expect(refusal({})).toEqual(['tables: must be an object'])
    expect(refusal({ tables: {} })).toEqual(['tables: has no table'])
  })
})

describe('what a source table is wanted for', () => {
  const wanted = wantedTables(schema, 'it')

  it('follows from its name in Zero', () => {
    expect(wantedOf(wanted, { namespace: 'public', name: 'authors' }, 'public')).toBe(wanted.get('authors'))
    expect(wantedOf(wanted, { namespace: 'shop', name: 'authors' }, 'shop')).toBe(wanted.get('authors'))
    expect(wantedOf(wanted, { namespace: 'app', name: 'members' }, 'public')).toBe(wanted.get('app.members'))
  })

  it('is nothing when no client knows of it', () => {
    expect(wantedOf(wanted, { namespace: 'public', name: 'author' }, 'public')).toBeNull()
    expect(wantedOf(wanted, { namespace: 'shop', name: 'authors' }, 'public')).toBeNull()
    expect(wantedOf(wanted, { namespace: 'public', name: 'clients' }, 'public')).toBeNull()
  })

  it('is not asked of tables that zero-cache itself reads', () => {
    expect(wantedOf(wanted, { namespace: 'zero_0', name: 'clients' }, 'public')).toBeUndefined()
    expect(wantedOf(wanted, { namespace: 'zero', name: 'permissions' }, 'public')).toBeUndefined()
  })
})

describe('a Zero schema beside the tables of the source', () => {
  const wanted = wantedTables(schema, 'it')
  const authors = served('public.authors', { schema: 'public', name: 'authors' }, ['id'])
  const members = served('app.members', { schema: 'app', name: 'members' }, ['team_id', 'user'])
  const notes = served('public.notes', { schema: 'public', name: 'notes' }, ['id'])
  const messages = (...tables: readonly TableVersion[]) => {
    return schemaProblems(wanted, tables).map(({ severity, code, message, fix }) => {
      expect([severity, code]).toEqual(['error', 'zero/schema-mismatch'])
      return `${message} | ${fix}`
    })
  }

  it('fits when every table is there with its key, in whichever order', () => {
    const more = served('public.more', { schema: 'public', name: 'more' }, ['id'])
    expect(messages(authors, members, notes, more)).toEqual([])
  })

  it('gives the complete list, with the nearest names', () => {
    const other = served('app.notes', { schema: 'app', name: 'notes' }, ['id'])
    const author1 = served('public.author', { schema: 'public', name: 'author' }, ['id'])
    const keyed = served('app.members', { schema: 'app', name: 'members' }, ['user'])
    expect(messages(author1, keyed, other)).toEqual([
      'a client\'s schema has a table "authors", and the source has none that is called so in Zero; did you mean "author"?' +
        " | Tables that are served: author, app.members, app.notes. Name one with .from('...') in the Zero schema, or leave the table out there.",
      "a client's schema has the key (user, team_id) for table app.members, which has (user) in the source" +
        " | Declare .primaryKey('user') in the Zero schema.",
      'a client\'s schema has a table "notes", and the source has none that is called so in Zero; did you mean "app.notes"?' +
        " | Tables that are served: author, app.members, app.notes. Name one with .from('...') in the Zero schema, or leave the table out there.",
    ])
    expect(messages()).toHaveLength(3)
  })

  it('explains a prefix that Zero does not have', () => {
    const json = {
      tables: {
        n: { name: 'n', serverName: 'public.notes', columns: { id: { type: 'number' } }, primaryKey: ['id'] },
      },
    }
    const [problem] = schemaProblems(wantedTables(json, 'it'), [notes])
    expect(problem!.fix).toBe('Tables of `defaultNamespace` have no prefix in Zero: call it "notes".')
  })
})
