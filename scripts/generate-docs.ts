/**
 * Writes the option tables into the docs, from the schemas: `node scripts/generate-docs.ts`. A table stands between
 * two marker comments; everything else in a file is written by hand. A unit test fails when a table is out of date.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { builtInConnectors } from '../src/runtime/config/connectors.ts'
import { Envelope } from '../src/runtime/config/envelope.ts'
import { describeOptions, optionTable } from '../src/runtime/config/option-table.ts'
import { withBlock } from './marked-block.ts'

/** A file that holds a table. */
export interface GeneratedDoc {
  /** Relative to the repository. */
  readonly path: string
  readonly table: string
}

/** Every file that has a table, whether it exists yet or not. */
export function generatedDocs(): readonly GeneratedDoc[] {
  const { sources, sinks } = builtInConnectors()
  return [
    { path: 'docs/configuration.md', table: optionTable(describeOptions(Envelope)) },
    ...sources.connectors.map((connector) => ({
      path: `src/connectors/sources/${connector.type}/README.md`,
      table: optionTable(describeOptions(connector.config)),
    })),
    ...sinks.connectors.map((connector) => ({
      path: `src/connectors/sinks/${connector.type}/README.md`,
      table: optionTable(describeOptions(connector.config)),
    })),
  ]
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = new URL('../', import.meta.url)
  for (const { path, table } of generatedDocs()) {
    const file = new URL(path, root)
    const text = existsSync(file) ? readFileSync(file, 'utf8') : null
    const updated = text === null ? null : withBlock(text, 'options', table)
    if (updated === null) say(`${path}: ${text === null ? 'does not exist' : 'has no markers'}`)
    else if (updated !== text) {
      writeFileSync(file, updated)
      say(`${path}: updated`)
    }
  }
}
