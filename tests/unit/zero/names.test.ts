import { describe, expect, it } from 'vitest'
import { checkNames, keyIndexName, replicaName, zeroName } from '../../../src/connectors/sinks/zero/names.ts'

const table = (full: string, columns: readonly string[] = ['id']) => {
  const [namespace, name] = full.split('/') as [string, string]
  return { namespace, name, columns: columns.map((column) => ({ name: column })) }
}
const messages = (...tables: readonly ReturnType<typeof table>[]): readonly string[] =>
  checkNames(tables, 'shop').map(({ code, severity, fix, message }) => {
    expect({ code, severity }).toEqual({ code: 'zero/name', severity: 'error' })
    expect(fix).toBeTruthy()
    return message
  })

describe('names of tables', () => {
  it('have no prefix in the default namespace, and that of their namespace elsewhere', () => {
    const shown = (full: string, defaultNamespace: string | null): string =>
      replicaName(zeroName(table(full), defaultNamespace))
    expect(shown('shop/orders', 'shop')).toBe('orders')
    expect(shown('zero_0/clients', 'shop')).toBe('zero_0.clients')
    expect(shown('public/orders', 'public')).toBe('orders')
    expect(shown('shop/orders', null)).toBe('shop.orders')
    expect(zeroName(table('shop/orders'), 'shop')).toEqual({ schema: 'public', name: 'orders' })
  })

  it.each([
    'shop/orders',
    'shop/_a-b_9',
    'other-1/Orders',
    'shop/sqlite',
    'zero_0/clients',
    'zero/permissions',
    'shop/_zero',
  ])('take %s', (full) => expect(messages(table(full))).toEqual([]))

  it.each([
    'shop/1st',
    'shop/order items',
    'shop/a.b',
    'shop/é',
    'shop/',
    'my shop/orders',
    'a.b/orders',
    'shop/a$pkey',
    'shop/-a',
  ])('refuse %s, which zero-cache would not take from Postgres', (full) =>
    expect(messages(table(full))).toEqual([
      `table ${full.replace('/', '.')} has a name that Zero does not take`,
    ]),
  )

  it.each([
    'shop/sqlite_stat1',
    'shop/SQLite_x',
    'shop/_litestream_seq',
    'shop/xlitestreamx',
    '_zero/config',
    'Xzero/orders',
  ])('refuse %s, which zero-cache would hide', (full) =>
    expect(messages(table(full))).toEqual([
      `table ${full.replace('/', '.')} has a name that Zero keeps for itself`,
    ]),
  )

  it('collide where the replica cannot tell them apart', () => {
    expect(messages(table('shop/orders'), table('shop/Orders'), table('public/ORDERS'))).toEqual([
      expect.stringContaining('shop.orders and shop.Orders'),
      expect.stringContaining('shop.orders and public.ORDERS'),
    ])
    expect(messages(table('a/orders'), table('shop/orders'), table('b/orders'))).toEqual([])
    expect(messages(table('a/orders'), table('A/orders'))).toEqual([
      expect.stringContaining('a.orders and A.orders'),
    ])
    // The same table twice is no collision.
    expect(messages(table('shop/orders'), table('shop/orders'))).toEqual([])
  })

  it('leave room for the index of every key', () => {
    expect(keyIndexName({ name: 'orders' })).not.toBe(keyIndexName({ name: 'orders_pkey' }))
    // No table can be called like it: in no schema.
    const index = keyIndexName({ name: 'orders' })
    expect(messages(table(`shop/${index}`))).toHaveLength(1)
    expect(index).not.toContain('.')
  })
})

describe('names of columns', () => {
  it('may have dots and dashes', () => {
    expect(messages(table('shop/t', ['id', 'a.b', '_c-d', 'E9', 'constructor', 'toString']))).toEqual([])
  })

  it('are refused all at once', () => {
    expect(
      messages(
        table('shop/t', ['id', 'ID', '_0_version', '_0_VERSION', '__proto__', 'a b', '1', '', 'x"y']),
        table('shop/1'),
      ),
    ).toEqual([
      expect.stringContaining('"id" and "ID"'),
      expect.stringContaining('"_0_version" of table shop.t has a name that Zero keeps'),
      expect.stringContaining('"_0_VERSION" of table shop.t has a name that Zero keeps'),
      expect.stringContaining('"__proto__" of table shop.t has a name that Zero keeps'),
      expect.stringContaining('"a b" of table shop.t has a name that Zero does not take'),
      expect.stringContaining('"1" of table shop.t'),
      expect.stringContaining('"" of table shop.t'),
      expect.stringContaining('"x"y" of table shop.t'),
      expect.stringContaining('table shop.1'),
    ])
  })
})
