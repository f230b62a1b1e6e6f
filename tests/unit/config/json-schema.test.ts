import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { builtInConnectors } from '../../../src/runtime/config/connectors.ts'
import { configJsonSchema } from '../../../src/runtime/config/json-schema.ts'
import type { JsonSchema } from '../../../src/runtime/config/option-table.ts'
import { testConnectors, valid } from './test-connectors.ts'

describe('configJsonSchema', () => {
  const schema = configJsonSchema(testConnectors())

  it('accepts a valid config', () => {
    expect(violations(schema, valid)).toEqual([])
  })

  it('accepts placeholders for every kind of single value', () => {
    const source = {
      ...valid.source,
      port: '${PORT}',
      heartbeat: '${BEAT:1s}',
      snapshot: '${MODE}',
      tls: { verify: '${V}' },
    }
    expect(
      violations(schema, { ...valid, name: '${NAME}', buffer: 'x${SIZE}', source, tables: ['${TABLES}'] }),
    ).toEqual([])
  })

  it.each<[string, unknown, string]>([
    ['a missing option', { source: { type: 'river' } }, '/source: url is required'],
    ['an unknown option', { source: { ...valid.source, slt: 1 } }, '/source/slt: not known'],
    ['an unknown connector', { source: { type: 'rivr' } }, '/source/type: none of the words'],
    ['an unknown key', { bufer: '1MiB' }, '/bufer: not known'],
    ['a bad duration', { source: { ...valid.source, heartbeat: '10' } }, '/source/heartbeat: fits no form'],
    [
      'a nested mistake',
      { source: { ...valid.source, tls: { verfy: true } } },
      '/source/tls/verfy: not known',
    ],
    ['a mistake in a sink', { sinks: { main: { type: 'lake' } } }, '/sinks/main: path is required'],
    ['a bad sink name', { sinks: { 'Main Lake': valid.sinks.main } }, '/sinks: fits no pattern'],
  ])('refuses %s', (_case, change, expected) => {
    expect(violations(schema, { ...valid, ...(change as object) })).toEqual([expected])
  })

  it('describes options with their defaults', () => {
    expect(definition(schema, 'source.river')['properties']).toMatchObject({
      type: { const: 'river', description: 'A source for tests' },
      heartbeat: { description: 'How often.', default: '10s', title: 'duration' },
      tls: { properties: { verify: { default: true } } },
    })
  })

  it('accepts the example in the repository', () => {
    const example: unknown = parse(readFileSync('examples/postgres-to-clickhouse.yaml', 'utf8'))
    expect(violations(configJsonSchema(builtInConnectors()), example)).toEqual([])
  })

  it('refers only to what it defines', () => {
    const ours = configJsonSchema(builtInConnectors())
    const references = [...JSON.stringify(ours).matchAll(/"\$ref":"#\/\$defs\/([^"]+)"/g)].map(
      (match) => match[1]!,
    )
    expect(references.length).toBeGreaterThan(0)
    expect(Object.keys(ours['$defs'] as object)).toEqual(expect.arrayContaining(references))
  })
})

function definition(root: JsonSchema, name: string): JsonSchema {
  return (root['$defs'] as Record<string, JsonSchema>)[name]!
}

/** Just the keywords that we write; anything else is an error, so that nothing passes by being ignored. */
function violations(root: JsonSchema, value: unknown, schema: JsonSchema = root, at = ''): string[] {
  return Object.entries(schema).flatMap(([keyword, rule]) =>
    violationsOf(root, value, schema, at, keyword, rule),
  )
}

function violationsOf(
  root: JsonSchema,
  value: unknown,
  schema: JsonSchema,
  at: string,
  keyword: string,
  rule: unknown,
): string[] {
  const object =
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null
  const rules = rule as Record<string, JsonSchema>
  const unless = (holds: boolean, message: string): string[] => (holds ? [] : [`${at}: ${message}`])
  switch (keyword) {
    case '$schema':
    case '$defs':
    case 'title':
    case 'description':
    case 'default':
    case 'then':
      return []
    case '$ref':
      return violations(root, value, definition(root, (rule as string).slice('#/$defs/'.length)), at)
    case 'type':
      return unless(isOfType(value, rule as string), `not of type ${rule as string}`)
    case 'enum':
      return unless((rule as unknown[]).includes(value), 'none of the words')
    case 'const':
      return unless(value === rule, 'not the constant')
    case 'pattern':
      return unless(
        typeof value !== 'string' || new RegExp(rule as string, 'u').test(value),
        'fits no pattern',
      )
    case 'minLength':
      return unless(typeof value !== 'string' || value.length >= (rule as number), 'too short')
    case 'minimum':
      return unless(typeof value !== 'number' || value >= (rule as number), 'too small')
    case 'maximum':
      return unless(typeof value !== 'number' || value <= (rule as number), 'too large')
    case 'minProperties':
      return unless(object === null || Object.keys(object).length >= (rule as number), 'too few')
    case 'required':
      return (rule as string[]).flatMap((key) =>
        unless(object === null || key in object, `${key} is required`),
      )
    case 'properties':
      return Object.entries(object ?? {}).flatMap(([key, item]) => {
        return rules[key] === undefined ? [] : violations(root, item, rules[key], `${at}/${key}`)
      })
    case 'additionalProperties': {
      const known = Object.keys((schema['properties'] ?? {}) as object)
      const others = Object.entries(object ?? {}).filter(([key]) => !known.includes(key))
      return others.flatMap(([key, item]) => {
        return rule === false
          ? [`${at}/${key}: not known`]
          : violations(root, item, rule as JsonSchema, `${at}/${key}`)
      })
    }
    case 'propertyNames':
      return Object.keys(object ?? {}).flatMap((key) => violations(root, key, rule as JsonSchema, at))
    case 'items':
      return (Array.isArray(value) ? value : []).flatMap((item, index) =>
        violations(root, item, rule as JsonSchema, `${at}/${index}`),
      )
    case 'anyOf':
      return unless(
        (rule as JsonSchema[]).some((one) => violations(root, value, one, at).length === 0),
        'fits no form',
      )
    case 'allOf':
      return (rule as JsonSchema[]).flatMap((one) => violations(root, value, one, at))
    case 'if':
      return violations(root, value, rule as JsonSchema, at).length > 0
        ? []
        : violations(root, value, schema['then'] as JsonSchema, at)
    default:
      throw new Error(`unexpected keyword ${keyword}`)
  }
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value)
    case 'array':
      return Array.isArray(value)
    case 'integer':
      return Number.isInteger(value)
    default:
      return typeof value === type
  }
}
