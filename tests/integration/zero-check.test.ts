/** A start that cannot work says everything that is wrong, before anything moves (law L13). */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { startCli } from '../support/cli.ts'
import { testPostgres } from '../support/postgres.ts'

it('lists every mismatch of tables, schema, publications and permissions, and makes no file', async () => {
  await using postgres = await testPostgres('zero_check')
  await postgres.sql(`CREATE TABLE items (id int8 PRIMARY KEY, title text NOT NULL, price numeric(30, 10));
    CREATE TABLE orders (id int4 PRIMARY KEY, "Total" int4, "total" int4);
    CREATE SCHEMA zero; CREATE TABLE zero.permissions (lock bool PRIMARY KEY, permissions jsonb, hash text)`)
  const folder = mkdtempSync(join(tmpdir(), 'sluice-zero-check-'))
  try {
    const schema = {
      tables: {
        items: {
          name: 'items',
          columns: {
            id: { type: 'number', optional: false },
            titel: { type: 'string', optional: false },
            title: { type: 'json', optional: false },
          },
          primaryKey: ['id'],
        },
        orders: { name: 'orders', columns: { id: { type: 'number', optional: false } }, primaryKey: ['id'] },
        ordres: { name: 'ordres', columns: { id: { type: 'number', optional: false } }, primaryKey: ['id'] },
      },
      relationships: {},
    }
    writeFileSync(join(folder, 'schema.json'), JSON.stringify(schema))
    const config = join(folder, 'pipeline.yaml')
    writeFileSync(
      config,
      JSON.stringify({
        name: postgres.database,
        source: { type: 'postgres', url: postgres.url },
        tables: ['public.*', 'zero.*'],
        sinks: {
          zero: {
            type: 'zero',
            path: join(folder, 'changes.db'),
            schema: { file: join(folder, 'schema.json') },
            permissions: 'allow-all-select',
            publications: { shop: { tables: ['public.itms'], rows: { 'public.items': { prise: 1 } } } },
          },
        },
        checkpoint: { path: join(folder, 'checkpoint.db') },
      }),
    )
    const check = startCli(['check', config])
    expect((await check.done).code).toBe(3)
    const said = check.stdout() + check.stderr()
    for (const part of [
      'a column "titel" of table public.items',
      'column "title" of table public.items',
      'a table "ordres", and the source has none',
      'publications.shop.tables',
      'publications.shop.rows',
      'zero/permissions-twice',
    ])
      expect(said).toContain(part)
    expect((await startCli(['run', config]).done).code).toBe(3)
    expect(existsSync(join(folder, 'changes.db'))).toBe(false)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('lists what keeps the port from being opened beside what keeps the files from being read', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-zero-check-'))
  try {
    const config = join(folder, 'pipeline.yaml')
    const zero = { type: 'zero', path: join(folder, 'changes.db'), host: '0.0.0.0' }
    const permissions = { file: join(folder, 'nowhere.json') }
    const sinks = { zero: { ...zero, permissions } }
    writeFileSync(config, JSON.stringify({ name: 'x', source: { type: 'memory', database: 'x' }, sinks }))
    const check = startCli(['check', config])
    expect((await check.done).code).toBe(3)
    const said = check.stdout() + check.stderr()
    expect(said).toContain('zero/open-to-all')
    expect(said).toContain('zero/permissions-unreadable')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
