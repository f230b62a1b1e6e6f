import { Reading } from '../core/mapping/formats/reading.ts'
import { schemaCode } from '../core/mapping/formats/schema-code.ts'
import { readSchema } from '../core/mapping/formats/schema-read.ts'
import type { Json } from '../core/position.ts'
import { readConfigFile } from '../runtime/config/file.ts'
import { InvalidConfigError } from '../runtime/config/format.ts'
import { exitCodes } from '../runtime/policy.ts'
import type { Terminal } from './terminal.ts'

/** Prints TypeScript for the rows of a schema. Throws `InvalidConfigError` with every mistake in it. */
export async function printTypes(args: { readonly schema: string }, terminal: Terminal): Promise<number> {
  const file = await readConfigFile(args.schema)
  const reading = new Reading('schema')
  const schema = readSchema(file.value as Json, reading)
  if (reading.mistakes.length > 0) {
    throw new InvalidConfigError(file, reading.mistakes, [], 'docs/mapping.md describes the formats.')
  }
  terminal.print(schemaCode(schema).trimEnd())
  return exitCodes.ok
}
