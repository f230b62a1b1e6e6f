/** The expectations as Markdown, for the connector's documentation. */
import { COLUMNS, type ColumnName, type Sample, SAMPLES } from './expectations.ts'

const HEAD = `# BSON values in columns

Every kind of BSON value in every type of column, as the tests execute it (\`tests/unit/mongodb/expectations.ts\`, from
which this page is made). A column type that is not listed under a value does not hold it: a misfit, which stops the
pipeline or becomes NULL, as \`misfits\` says. \`(key)\` is a column of the primary key, where equal numbers are equal text
and json says of every value what it is; \`(extended)\` is a column with \`json: extended\`. Bytes are shown as hex digits.
No BSON value fits columns of the types \`time\` and \`interval\`.
`

export function expectationsTable(): string {
  const types = [...new Set(SAMPLES.map(({ type }) => type))]
  const parts = types.map((type) => {
    const samples = SAMPLES.filter((sample) => sample.type === type)
    const lines = samples.flatMap((sample) => rows(sample))
    return `## ${type}\n\n| value | column | cell |\n|---|---|---|\n${lines.join('\n')}\n`
  })
  return [HEAD, ...parts].join('\n')
}

/** One line per text, with all columns that have it. */
function rows(sample: Sample): readonly string[] {
  const byText = new Map<string, ColumnName[]>()
  for (const column of COLUMNS) {
    const text = sample.cells[column]
    if (text !== undefined) byText.set(text, [...(byText.get(text) ?? []), column])
  }
  const value = code(sample.value)
  if (byText.size === 0) return [`| ${value} | | misfit in every column |`]
  return [...byText].map(([text, columns], index) => {
    const all = columns.length === COLUMNS.length
    return `| ${index === 0 ? value : ''} | ${all ? 'every type' : columns.join(', ')} | ${text === 'NULL' ? 'NULL' : code(text)} |`
  })
}

function code(text: string): string {
  if (text === '') return '(empty text)'
  return `\`${text.replaceAll('|', '\\|').replaceAll('\0', '␀')}\``
}
