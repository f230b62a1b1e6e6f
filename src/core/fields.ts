/**
 * Building blocks for the `config.ts` of a connector; the only file of core that imports a library.
 *
 * ```ts
 * export const ExampleConfig = struct({
 *   url: secret().pipe(described('Address of the server, with user and password.')),
 *   slot: identifier().pipe(described('Name of the slot; made from the name of the pipeline when left out.'), optional),
 *   flushInterval: duration({ min: '10ms' }).pipe(described('Longest time that rows wait.'), withDefault('1s')),
 *   snapshot: oneOf('initial', 'never').pipe(described('Whether to copy first.'), withDefault('initial')),
 * })
 * export type ExampleConfig = typeof ExampleConfig.Type
 * ```
 *
 * One definition gives the decoder, the checked type of `defineConfig`, the JSON Schema for editors and the table in
 * the docs. Every message names what is expected and never the value: it may have come from a secret.
 */
import * as Effect from 'effect/Effect'
import * as Schema from 'effect/Schema'
import * as SchemaTransformation from 'effect/SchemaTransformation'
import type { Json } from './position.ts'
import { Secret } from './secret.ts'

/**
 * Decodes the options of a connector, and describes them for editors and docs. `Config` is what the connector gets,
 * `Input` what the user writes.
 */
export type ConfigSchema<Config, Input = unknown> = Schema.Codec<Config, Input, never, unknown>

/** Text with `${VAR}` in it. It is replaced before the options are decoded, so every option accepts it. */
export type Placeholder = `${string}\${${string}}${string}`

/** `500ms`, `1.5s`, `10s`, `5m`, `1h`, `7d`. */
export type DurationText = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

/** `512B`, `64KB` (1000 bytes each), `64KiB` (1024 bytes each). */
export type SizeText = `${number}${'B' | 'KB' | 'MB' | 'GB' | 'KiB' | 'MiB' | 'GiB'}`

const MILLISECONDS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}
const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/
const SIZE = /^(\d+(?:\.\d+)?)(B|KB|MB|GB|KiB|MiB|GiB)$/

/** All options of a connector, or a group of them. A key that is not listed is a mistake. */
export function struct<const Fields extends Schema.Struct.Fields>(fields: Fields): Schema.Struct<Fields> {
  return Schema.Struct(fields)
}

/** Adds the sentence that editors and docs show. Goes before `withDefault` and `optional`. */
export function described(text: string): <S extends Schema.Top>(field: S) => S['Rebuild'] {
  return (field) => field.pipe(Schema.annotateEncoded({ description: text }))
}

/** The value of an option that is left out, as the user would write it. Goes last. */
export function withDefault<const Value>(
  value: Value,
): <S extends Schema.Constraint & { readonly Encoded: unknown }>(
  field: S & (Value extends S['Encoded'] ? unknown : { readonly 'not a value of this option': Value }),
) => Schema.withDecodingDefaultKey<S> {
  return (field) => {
    const annotated = (field as unknown as Schema.Top).pipe(Schema.annotateEncoded({ default: value }))
    return annotated.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value))) as never
  }
}

/** An option that may be left out and then is absent. Goes last. */
export const optional: typeof Schema.optionalKey = Schema.optionalKey

/** Text of at least one character. */
export function text(): Schema.Codec<string> {
  return labelled('text', 'must be text').check(Schema.isNonEmpty({ message: 'must not be empty' }))
}

/** Text that nothing may print: passwords, tokens, and addresses that hold them. */
export function secret(): Schema.Codec<Secret, string> {
  const encoded = labelled('secret', 'must be text').check(
    Schema.isNonEmpty({ message: 'must not be empty' }),
  )
  return encoded.pipe(
    Schema.decodeTo(
      Schema.instanceOf(Secret),
      SchemaTransformation.transform({
        decode: (value) => new Secret(value),
        encode: (value) => value.toString(),
      }),
    ),
  )
}

/** A name on a server or in a store. JSON Schema keeps `pattern` only with the `u` flag. The default rule is `a-z`, `0-9`, `_`, at most 63 characters. */
export function identifier(
  rule: { readonly pattern: RegExp; readonly rule: string } = {
    pattern: /^[a-z_][a-z0-9_]{0,62}$/u,
    rule: 'must be at most 63 characters of a-z, 0-9 and _, and not start with a digit',
  },
): Schema.Codec<string> {
  return labelled('name', rule.rule).check(Schema.isPattern(rule.pattern, { message: rule.rule }))
}

/** A time span with its unit. Decodes to milliseconds. */
export function duration(
  bounds: { readonly min?: DurationText; readonly max?: DurationText } = {},
): Schema.Codec<number, DurationText | Placeholder> {
  const message = `must be a duration such as 500ms, 10s, 5m or 1h${range(bounds)}`
  return quantity('duration', DURATION, MILLISECONDS, bounds, message)
}

/** An amount of memory or disk with its unit. Decodes to bytes; `KB` is 1000 bytes, `KiB` 1024. */
export function size(
  bounds: { readonly min?: SizeText; readonly max?: SizeText } = {},
): Schema.Codec<number, SizeText | Placeholder> {
  return quantity('size', SIZE, BYTES, bounds, `must be a size such as 64KB, 16MB or 1GiB${range(bounds)}`)
}

/** A whole number, or its digits as text (which is what a replaced `${VAR}` gives). */
export function integer(
  bounds: { readonly min?: number; readonly max?: number } = {},
): Schema.Codec<number, number | Placeholder> {
  const minimum = bounds.min ?? Number.MIN_SAFE_INTEGER
  const maximum = bounds.max ?? Number.MAX_SAFE_INTEGER
  const message = `must be a whole number${range(bounds)}`
  const digits = restricted(Schema.String, message, { pattern: '^-?\\d+$' }, (value) => {
    return /^-?\d+$/.test(value) && Number(value) >= minimum && Number(value) <= maximum
  })
  const number = Schema.Int.check(Schema.isBetween({ minimum, maximum }, { message }))
  return Schema.Union([number, digits])
    .annotate({ title: 'integer', message })
    .pipe(
      Schema.decodeTo(
        Schema.Number,
        SchemaTransformation.transform({ decode: (value) => Number(value), encode: (value) => value }),
      ),
    ) as unknown as Schema.Codec<number, number | Placeholder>
}

/** `true` or `false`, also as text (which is what a replaced `${VAR}` gives). */
export function boolean(): Schema.Codec<boolean, boolean | Placeholder> {
  return Schema.Union([Schema.Boolean, Schema.Literals(['true', 'false'])])
    .annotate({ title: 'boolean', message: 'must be true or false' })
    .pipe(
      Schema.decodeTo(
        Schema.Boolean,
        SchemaTransformation.transform({
          decode: (value) => value === true || value === 'true',
          encode: (value) => value,
        }),
      ),
    ) as unknown as Schema.Codec<boolean, boolean | Placeholder>
}

/** One of some words. */
export function oneOf<const Words extends readonly [string, ...string[]]>(
  ...words: Words
): Schema.Codec<Words[number], Words[number] | Placeholder> {
  return Schema.Literals(words) as unknown as Schema.Codec<Words[number], Words[number] | Placeholder>
}

/** A list of values of one kind. */
export function list<S extends Schema.Constraint>(of: S): Schema.$Array<S> {
  return Schema.Array(of)
}

/** Values of one kind under names that the user chooses. */
export function record<S extends Schema.Constraint>(of: S): Schema.$Record<Schema.String, S> {
  return Schema.Record(Schema.String, of)
}

/** One of several forms; `rule` says what they are, after the name of the option. */
export function either<const Forms extends readonly Schema.Constraint[]>(
  rule: string,
  ...forms: Forms
): Schema.Union<Forms> {
  return Schema.Union(forms).annotate({ message: rule }) as unknown as Schema.Union<Forms>
}

/** Any value that a config file can hold; whoever reads it says what it must be. */
export function json(): Schema.Codec<Json> {
  return Schema.Json as unknown as Schema.Codec<Json>
}

function labelled(title: string, message: string): Schema.String {
  return Schema.String.annotate({ title, message })
}

/** One check, not two: descriptions are kept with the last check, and only one that has a JSON Schema exports them. */
function restricted(
  base: Schema.String,
  message: string,
  jsonSchema: { readonly pattern: string },
  accepts: (value: string) => boolean,
): Schema.String {
  return base.check(
    Schema.makeFilter((value: string) => accepts(value), { message, toJsonSchema: () => [jsonSchema, true] }),
  )
}

function quantity<Text extends string>(
  title: string,
  pattern: RegExp,
  units: Readonly<Record<string, number>>,
  bounds: { readonly min?: string; readonly max?: string },
  message: string,
): Schema.Codec<number, Text | Placeholder> {
  const parse = (value: string) => {
    const [, number, unit] = pattern.exec(value) ?? []
    return unit === undefined ? Number.NaN : Math.round(Number(number) * units[unit]!)
  }
  const minimum = bounds.min === undefined ? 0 : parse(bounds.min)
  const maximum = bounds.max === undefined ? Number.MAX_SAFE_INTEGER : parse(bounds.max)
  const encoded = restricted(labelled(title, message), message, { pattern: pattern.source }, (value) => {
    return parse(value) >= minimum && parse(value) <= maximum
  })
  return encoded.pipe(
    Schema.decodeTo(
      Schema.Number,
      SchemaTransformation.transform({ decode: parse, encode: (value) => String(value) }),
    ),
  ) as unknown as Schema.Codec<number, Text | Placeholder>
}

function range(bounds: { readonly min?: string | number; readonly max?: string | number }): string {
  if (bounds.min !== undefined && bounds.max !== undefined) return `, from ${bounds.min} to ${bounds.max}`
  if (bounds.min !== undefined) return `, at least ${bounds.min}`
  if (bounds.max !== undefined) return `, at most ${bounds.max}`
  return ''
}
