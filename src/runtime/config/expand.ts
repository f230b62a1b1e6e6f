import type { Mistake, Path } from './mistakes.ts'

/** Where `${VAR}` gets its values. */
export interface Environment {
  readonly variables: Readonly<Record<string, string | undefined>>
  /** Content of a file that `VAR_FILE` names. Throws when it cannot be read. */
  readFile(path: string): string
}

export interface Expansion {
  readonly value: unknown
  readonly mistakes: readonly Mistake[]
}

const PLACEHOLDER = /\$\$\{|\$\{([^}]*)\}?/g
const VARIABLE = /^([A-Za-z_][A-Za-z0-9_]*)(?::(.*))?$/s

/**
 * Replaces `${VAR}` and `${VAR:default}` in every text of a parsed file; `$${` stands for `${`. It happens after
 * parsing, so a value can hold any character and never becomes structure. Where `VAR` is not set and `VAR_FILE` is,
 * the content of that file is taken, without its last line break: the way mounted secrets are handed over.
 */
export function expand(value: unknown, environment: Environment, at: Path = []): Expansion {
  if (typeof value === 'string') return expandText(value, environment, at)
  if (Array.isArray(value)) {
    const parts = value.map((item, index) => expand(item, environment, [...at, index]))
    return { value: parts.map((part) => part.value), mistakes: parts.flatMap((part) => part.mistakes) }
  }
  if (!isPlainObject(value)) return { value, mistakes: [] }
  const parts = Object.entries(value).map(
    ([key, item]) => [key, expand(item, environment, [...at, key])] as const,
  )
  return {
    value: Object.fromEntries(parts.map(([key, part]) => [key, part.value])),
    mistakes: parts.flatMap(([, part]) => part.mistakes),
  }
}

function expandText(text: string, environment: Environment, at: Path): Expansion {
  const mistakes: Mistake[] = []
  const value = text.replace(PLACEHOLDER, (whole, inside: string | undefined) => {
    if (inside === undefined) return '${'
    const [, name, fallback] = (whole.endsWith('}') ? VARIABLE.exec(inside) : null) ?? []
    if (name === undefined) {
      mistakes.push({
        path: at,
        reason: 'has a malformed placeholder; write ${VAR}, ${VAR:default}, or $${ for a literal ${',
      })
      return whole
    }
    const found = lookUp(name, environment)
    if (typeof found === 'string') return found
    if (found === null && fallback !== undefined) return fallback
    mistakes.push({
      path: at,
      reason: found === null ? `needs the environment variable ${name}, which is not set` : found.problem,
    })
    return whole
  })
  return { value, mistakes }
}

function lookUp(name: string, environment: Environment): string | { readonly problem: string } | null {
  const direct = environment.variables[name]
  if (direct !== undefined) return direct
  const file = environment.variables[`${name}_FILE`]
  if (file === undefined) return null
  try {
    return environment.readFile(file).replace(/\r?\n$/, '')
  } catch {
    return { problem: `needs the file that ${name}_FILE names, which cannot be read` }
  }
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
