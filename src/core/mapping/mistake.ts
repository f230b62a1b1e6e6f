/** What is wrong with a mapping, a filter or an expression. No value is ever named (law L14). */
export interface MappingMistake {
  /** Keys and list indexes from the top of what was given. */
  readonly path: readonly (string | number)[]
  /** A clause without a full stop. */
  readonly reason: string
}
