import type { AnyConnector, Registry } from '../../core/registry.ts'
import type { Connectors } from './connectors.ts'
import { Envelope } from './envelope.ts'
import { type JsonSchema, toJsonSchema } from './option-table.ts'

/** What an option accepts besides its own form, because `${VAR}` is replaced before it is decoded. */
const PLACEHOLDER: JsonSchema = { type: 'string', pattern: '\\$\\{' }

/** Keywords that explain; everything else restricts. */
const EXPLAINING = ['title', 'description', 'default', 'examples']

/** The JSON Schema of a config file, for editors: common options, and those of every connector by its `type`. */
export function configJsonSchema(connectors: Connectors): JsonSchema {
  const envelope = toJsonSchema(Envelope).schema
  const properties = envelope['properties'] as Record<string, JsonSchema>
  const definitions: Record<string, JsonSchema> = {}
  const source = connectorOptions('source', connectors.sources, definitions)
  const sink = connectorOptions('sink', connectors.sinks, definitions)
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Sluice pipeline',
    ...envelope,
    properties: {
      ...mapValues(properties, withPlaceholders),
      source: { ...properties['source'], ...source },
      sinks: {
        type: 'object',
        description: properties['sinks']!['description']!,
        minProperties: 1,
        propertyNames: { pattern: '^[a-z0-9_-]{1,40}$' },
        additionalProperties: sink,
      },
    },
    $defs: definitions,
  }
}

/** Chosen by `if` on `type`, not by a union: an editor then reports the wrong option, not "matches no form". */
function connectorOptions<Instance>(
  kind: string,
  registry: Registry<Instance>,
  definitions: Record<string, JsonSchema>,
): JsonSchema {
  for (const connector of registry.connectors) {
    const { schema, definitions: own } = toJsonSchema(connector.config)
    Object.assign(definitions, own)
    definitions[`${kind}.${connector.type}`] = withType(connector, withPlaceholders(schema))
  }
  return {
    type: 'object',
    properties: { type: { enum: registry.types, description: `Kind of the ${kind}.` } },
    required: ['type'],
    allOf: registry.types.map((type) => ({
      if: { properties: { type: { const: type } }, required: ['type'] },
      // oxlint-disable-next-line unicorn/no-thenable -- A keyword of JSON Schema.
      then: { $ref: `#/$defs/${kind}.${type}` },
    })),
  }
}

function withType<Instance>(connector: AnyConnector<Instance>, schema: JsonSchema): JsonSchema {
  const properties = (schema['properties'] ?? {}) as JsonSchema
  return {
    ...schema,
    description: connector.summary,
    properties: { type: { const: connector.type, description: connector.summary }, ...properties },
    required: ['type', ...((schema['required'] ?? []) as readonly string[])],
  }
}

/** Lets every single value be a placeholder, at any depth. */
function withPlaceholders(schema: JsonSchema): JsonSchema {
  if (schema['type'] === 'object') {
    const { properties, additionalProperties } = schema
    return {
      ...schema,
      ...(properties === undefined
        ? {}
        : { properties: mapValues(properties as JsonSchema, withPlaceholders) }),
      ...(typeof additionalProperties === 'object'
        ? { additionalProperties: withPlaceholders(additionalProperties as JsonSchema) }
        : {}),
    }
  }
  if (schema['type'] === 'array') {
    return 'items' in schema ? { ...schema, items: withPlaceholders(schema['items'] as JsonSchema) } : schema
  }
  const entries = Object.entries(schema)
  const restricting = entries.filter(([keyword]) => !EXPLAINING.includes(keyword))
  // Free text holds placeholders as it is, and an empty schema holds anything.
  const isFree = restricting.every(
    ([keyword, value]) => (keyword === 'type' && value === 'string') || keyword === 'minLength',
  )
  if (isFree || '$ref' in schema) return schema
  const explaining = entries.filter(([keyword]) => EXPLAINING.includes(keyword))
  return { ...Object.fromEntries(explaining), anyOf: [Object.fromEntries(restricting), PLACEHOLDER] }
}

function mapValues(values: JsonSchema, change: (value: JsonSchema) => JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value as JsonSchema)]))
}
