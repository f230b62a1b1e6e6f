/**
 * Which tables a pipeline replicates. A pattern is `namespace.table`; `*` stands for any number of characters and `?`
 * for one, `!` in front excludes. A table is selected when a plain pattern matches and no `!` pattern does. Without
 * patterns every table is.
 */
export interface TableSelection {
  readonly patterns: readonly string[]
  includes(namespace: string, name: string): boolean
}

export function selectTables(patterns: readonly string[]): TableSelection {
  const included = patterns.filter((pattern) => !pattern.startsWith('!')).map(toRegExp)
  const excluded = patterns
    .filter((pattern) => pattern.startsWith('!'))
    .map((pattern) => toRegExp(pattern.slice(1)))
  return {
    patterns,
    includes(namespace, name) {
      const full = `${namespace}.${name}`
      if (excluded.some((pattern) => pattern.test(full))) return false
      return included.length === 0 || included.some((pattern) => pattern.test(full))
    },
  }
}

/** True when the pattern names exactly one table. */
export function isLiteral(pattern: string): boolean {
  return !/[*?!]/.test(pattern)
}

function toRegExp(pattern: string): RegExp {
  const source = pattern
    .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 'su')
}
