import { ConfigError } from '../../core/error.ts'
import type { ConfigFile, Location } from './file.ts'
import type { Mistake, Path } from './mistakes.ts'

/** A mistake as it is shown. */
export interface LocatedMistake {
  /** `sinks.lake.url`, `tables[2]`; empty for the file as a whole. */
  readonly path: string
  readonly reason: string
  /** Null when the format does not say (TypeScript). */
  readonly location: Location | null
  /** The document that it is in, when that is not the config file itself. */
  readonly document?: string
}

type Written = Pick<ConfigFile, 'shown' | 'locate'>

/** Mistakes in a document that belongs to the config. */
export interface DocumentMistakes {
  readonly document: Written
  readonly mistakes: readonly Mistake[]
}

/** The config has mistakes; carries the complete list (law L13), which is also the message. */
export class InvalidConfigError extends ConfigError {
  readonly mistakes: readonly LocatedMistake[]

  constructor(
    file: Written,
    mistakes: readonly Mistake[],
    others: readonly DocumentMistakes[] = [],
    fix?: string,
  ) {
    const located = [
      ...locate(file, mistakes),
      ...others.flatMap(({ document, mistakes: found }) =>
        locate(document, found).map((mistake) => ({ ...mistake, document: document.shown })),
      ),
    ]
    const count = located.length === 1 ? 'a mistake' : `${located.length} mistakes`
    super('config/invalid', `${file.shown} has ${count}\n${formatMistakes(file.shown, located).join('\n')}`, {
      fix: fix ?? `Correct what is listed; ${manualsOf(located)}.`,
    })
    this.mistakes = located
  }
}

/** Where it says how to write what is wrong. */
function manualsOf(mistakes: readonly LocatedMistake[]): string {
  const ofMapping = ({ path, document }: LocatedMistake): boolean =>
    document !== undefined || /^mapping\.(schema|tables)\.inline\b/.test(path)
  const options = 'docs/configuration.md describes every option'
  const mapping = 'docs/mapping.md describes schemas and mappings'
  if (mistakes.every(ofMapping)) return mapping
  return mistakes.some(ofMapping) ? `${options}, ${mapping}` : options
}

/** One line per mistake, `file:line:column path: reason`, which terminals and editors turn into links. */
function formatMistakes(file: string, mistakes: readonly LocatedMistake[]): readonly string[] {
  return mistakes.map(({ path, reason, location, document }) => {
    const where = placeOf(document ?? file, location, document !== undefined)
    return `  ${where}${path === '' ? 'the document' : path}: ${reason}`
  })
}

function placeOf(file: string, location: Location | null, isOther: boolean): string {
  if (location !== null) return `${file}:${location.line}:${location.column} `
  return isOther ? `${file} ` : ''
}

/** In the order of the file; what has no place comes last, in the order it was found. */
function locate(file: Pick<Written, 'locate'>, mistakes: readonly Mistake[]): readonly LocatedMistake[] {
  const located = mistakes.map(({ path, reason, atKey }) => ({
    path: formatPath(path),
    reason,
    location: file.locate(path, atKey ?? false),
  }))
  return located.toSorted((a, b) => {
    if (a.location === null || b.location === null)
      return Number(a.location === null) - Number(b.location === null)
    return a.location.line - b.location.line || a.location.column - b.location.column
  })
}

/** `sinks.lake.tables[0]`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text === '' ? key : `${text}.${key}`
  }, '')
}
