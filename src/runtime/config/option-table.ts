import * as Schema from 'effect/Schema'
import type { ConfigSchema } from '../../core/fields.ts'
import type { Json } from '../../core/position.ts'

/** A JSON Schema, or a part of one. */
export type JsonSchema = { readonly [key: string]: Json }

/** One option, as docs and `sluice connectors --json` show it. */
export interface OptionDescription {
  /** With dots for options in a group: `tls.ca`. */
  readonly name: string
  /** `text`, `secret`, `duration`, `a | b`, `list of text` ... */
  readonly type: string
  readonly required: boolean
  /** As the user would write it; null when there is none. */
  readonly default: Json
  readonly description: string
}

/**
 * The JSON Schema of options, without the fix-ups for editors. The generator returns `definitions` and refers to
 * `#/$defs`, so whoever embeds it puts them there.
 */
export function toJsonSchema(schema: ConfigSchema<unknown>): {
  readonly schema: JsonSchema
  readonly definitions: JsonSchema
} {
  const document = Schema.toJsonSchemaDocument(schema, { onExcessProperty: 'error' })
  return document as unknown as { readonly schema: JsonSchema; readonly definitions: JsonSchema }
}

/** The options of a schema, in the order of their definition. Groups are unfolded. */
export function describeOptions(schema: ConfigSchema<unknown>): readonly OptionDescription[] {
  return describeGroup(toJsonSchema(schema).schema, '')
}

/** A Markdown table. */
export function optionTable(options: readonly OptionDescription[]): string {
  const rows = options.map((option) => {
    const fallback = option.required
      ? 'required'
      : option.default === null
        ? ''
        : code(asText(option.default))
    const type = option.type.includes(' | ') ? code(option.type) : option.type
    return `| ${code(option.name)} | ${type} | ${fallback} | ${escape(option.description)} |`
  })
  return ['| Option | Type | Default | Meaning |', '|---|---|---|---|', ...rows].join('\n')
}

function describeGroup(group: JsonSchema, prefix: string): OptionDescription[] {
  const required = (group['required'] ?? []) as readonly string[]
  return Object.entries((group['properties'] ?? {}) as Record<string, JsonSchema>).flatMap(
    ([key, option]) => {
      const name = prefix + key
      if (option['type'] === 'object' && option['properties'] !== undefined)
        return describeGroup(option, `${name}.`)
      return {
        name,
        type: typeOf(option),
        required: required.includes(key),
        default: option['default'] ?? null,
        description: (option['description'] as string | undefined) ?? '',
      }
    },
  )
}

function typeOf(option: JsonSchema): string {
  if (typeof option['title'] === 'string') return option['title']
  if (Array.isArray(option['enum'])) return option['enum'].map((word) => asText(word)).join(' | ')
  if (option['const'] !== undefined) return JSON.stringify(option['const'])
  if (Array.isArray(option['anyOf']))
    return option['anyOf'].map((member) => typeOf(member as JsonSchema)).join(' | ')
  switch (option['type']) {
    case 'array':
      return `list of ${typeOf((option['items'] ?? {}) as JsonSchema)}`
    case 'object':
      if (option['additionalProperties'] === undefined) return 'options'
      return `map of ${typeOf((option['additionalProperties'] ?? {}) as JsonSchema)}`
    case 'string':
      return 'text'
    case undefined:
      return 'anything'
    default:
      return asText(option['type'])
  }
}

function asText(value: Json): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value)
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``
}

/** Outside of code, `<` would begin a tag. */
function escape(text: string): string {
  const parts = text.replaceAll('|', '\\|').split('`')
  return parts.map((part, index) => (index % 2 === 0 ? part.replaceAll('<', '&lt;') : part)).join('`')
}
