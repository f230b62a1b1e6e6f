import { writeFile } from 'node:fs/promises'

/** Name of the pipeline, and of the database in ClickHouse. */
export const PIPELINE = 'shop'
/** The name that the source derives from the pipeline's. */
export const SLOT = `sluice_${PIPELINE}`
/** View of a table's current rows, by the default of the ClickHouse sink. */
export const currentRows = (table: string): string => `${table}__current`

export interface Endpoints {
  readonly postgres: string
  /** The entry below `sinks`. */
  readonly sink: string
}

/** Writes the config file of the demo. It holds passwords: only its owner can read it. */
export async function writeConfig(path: string, { postgres, sink }: Endpoints): Promise<void> {
  const text = `# The pipeline of the demo. Yours looks the same, with your servers.
name: ${PIPELINE}

source:
  type: postgres
  url: ${JSON.stringify(postgres)}

tables: ['public.*']

sinks:
${sink}`
  await writeFile(path, text, { mode: 0o600 })
}
