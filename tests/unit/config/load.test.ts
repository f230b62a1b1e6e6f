import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ConfigError } from '../../../src/core/error.ts'
import { builtInConnectors } from '../../../src/runtime/config/connectors.ts'
import { loadConfig } from '../../../src/runtime/config/load.ts'

const environment = {
  variables: { DB: 'shop', PASSWORD: 'hunter2' },
  readFile: () => '',
}

const valid = `
name: shop
source: { type: memory, database: '\${DB}' }
sinks:
  main: { type: memory, target: out }
`

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-config-'))
})
afterAll(() => {
  rmSync(folder, { recursive: true })
})

describe('loadConfig', () => {
  it('reads YAML', async () => {
    const config = await loadConfig(write('ok.yaml', valid), environment)
    expect(config.source.options).toMatchObject({ database: 'shop' })
    expect(config.file).toBe(join(folder, 'ok.yaml'))
  })

  it('reads YAML with anchors and merge keys', async () => {
    const text = `
name: shop
source: { type: memory, database: a }
sinks:
  one: &base { type: memory, target: x, durable: flush }
  two: { <<: *base, target: y }
`
    const config = await loadConfig(write('anchors.yaml', text), environment)
    expect(config.sinks.map((sink) => sink.options)).toMatchObject([
      { target: 'x', durable: 'flush' },
      { target: 'y', durable: 'flush' },
    ])
  })

  it('reads JSON', async () => {
    const text = `{
  "name": "shop",
  "source": { "type": "memory", "database": "\${DB}" },
  "sinks": { "main": { "type": "memory", "target": "out" } }
}`
    const config = await loadConfig(write('ok.json', text), environment)
    expect(config.source.options).toMatchObject({ database: 'shop' })
  })

  it('reads TypeScript', async () => {
    const text = `
const target: string = 'out'
export default {
  name: 'shop',
  source: { type: 'memory', database: '\${DB}' },
  sinks: { main: { type: 'memory', target } },
}`
    const config = await loadConfig(write('ok.ts', text), environment)
    expect(config.sinks[0]).toMatchObject({ name: 'main', options: { target: 'out' } })
  })

  it.each([
    ['bad.yaml', 'name: shop\nsource: { type: memory\nsinks: {}\n', 'bad.yaml:3:1: this is not valid YAML'],
    ['twice.yaml', 'name: shop\nname: shop\n', 'twice.yaml:2:1: this is not valid YAML'],
    ['alias.yaml', 'name: *nothing\n', 'this is not valid YAML'],
    ['bad.json', '{\n  "name": "shop",\n  "buffer": tru\n}', 'bad.json:3:13: this is not valid JSON'],
    ['cut.json', '{ "name": "shop"', 'cut.json:1:17: this is not valid JSON'],
    ['bad.ts', 'export default {', 'bad.ts failed while it was loaded'],
    ['nothing.ts', 'export const config = {}', 'nothing.ts exports no config'],
    ['config.toml', '', 'config.toml is not a kind of config file'],
  ])('says where %s is broken', async (name, text, message) => {
    await expect(loadConfig(write(name, text), environment)).rejects.toThrow(message)
    await expect(loadConfig(write(name, text), environment)).rejects.toThrow(ConfigError)
  })

  it.each([
    ['secret.yaml', 'url: hunter2: [\n'],
    ['secret.json', '{ "url": hunter2 }'],
  ])('does not quote what is broken, which may be a secret (%s)', async (name, text) => {
    const path = write(name, text)
    const error: unknown = await loadConfig(path, environment).catch((thrown: unknown) => thrown)
    expect(inspect(error)).not.toContain('hunter2')
  })

  it('says that a file is missing, and where it was looked for', async () => {
    await expect(loadConfig('/nowhere/sluice.yaml', environment)).rejects.toMatchObject({
      code: 'config/file-missing',
      fix: expect.stringContaining('/nowhere/sluice.yaml'),
    })
  })

  it('lists every mistake with its line and column, in the order of the file', async () => {
    const text = `name: shop
source:
  type: memory
  database: \${MISSING}
  hartbeat: 1s
sinks:
  main:
    type: memry
  other:
    type: memory
retry: { budget: 10 }
`
    const path = write('wrong.yaml', text)
    const known = builtInConnectors().sinks.types.join(', ')
    await expect(loadConfig(path, environment)).rejects.toMatchObject({
      code: 'config/invalid',
      message: [
        `${path} has 5 mistakes`,
        `  ${path}:4:13 source.database: needs the environment variable MISSING, which is not set`,
        `  ${path}:5:3 source.hartbeat: unknown option, did you mean "heartbeat"?`,
        `  ${path}:8:11 sinks.main.type: unknown sink "memry", did you mean "memory"? (known: ${known})`,
        `  ${path}:9:3 sinks.other.target: is required`,
        `  ${path}:11:18 retry.budget: must be a duration such as 500ms, 10s, 5m or 1h`,
      ].join('\n'),
    })
  })

  it('never shows the value of a variable', async () => {
    const text = valid.replace('shop', '${PASSWORD} ').replace('out', '${PASSWORD}, durable: ${PASSWORD}')
    const error: unknown = await loadConfig(write('leak.yaml', text), environment).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(ConfigError)
    expect(inspect(error, { depth: 9 }) + JSON.stringify(error)).not.toContain('hunter2')
  })
})

describe('connectors of third parties', () => {
  const connector = `
import * as Schema from '${import.meta.resolve('effect/Schema')}'
const lake = { type: 'acme', summary: 'x', config: Schema.Struct({ path: Schema.String }), load: async () => () => null }
export const sinks = [lake]
`
  const using = (specifier: string, type = 'acme') =>
    `${valid}  extra: { type: ${type}, path: /data }\nconnectors: ['${specifier}']\n`

  it('are found beside the config file', async () => {
    write('lib/acme.mjs', connector)
    const config = await loadConfig(write('third.yaml', using('./lib/acme.mjs')), environment)
    expect(config.sinks[1]).toMatchObject({ name: 'extra', options: { path: '/data' } })
  })

  it.each([
    ['missing.mjs', null, './missing.mjs', 'connectors[0]: cannot be imported'],
    ['empty.mjs', 'export const x = 1', './empty.mjs', 'connectors[0]: must export `sources` or `sinks`'],
    [
      'half.mjs',
      'export const sinks = [{ type: "a" }]',
      './half.mjs',
      'connectors[0]: must export `sources` or `sinks`',
    ],
    [
      'taken.mjs',
      connector.replace("'acme'", "'memory'"),
      './taken.mjs',
      'brings the type "memory", which exists already',
    ],
  ])('that are broken are mistakes of the config (%s)', async (name, text, specifier, reason) => {
    if (text !== null) write(name, text)
    await expect(loadConfig(write(`${name}.yaml`, using(specifier)), environment)).rejects.toThrow(reason)
  })
})

function write(name: string, text: string): string {
  const path = join(folder, name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  return path
}
