import type { DocumentValue, DocumentValueKind } from '../value.ts'

/** Names and numbers of the types, from MongoDB's manual ("BSON Types"). */
const TYPES: readonly (readonly [kind: DocumentValueKind, name: string, number: number])[] = [
  ['double', 'double', 1],
  ['string', 'string', 2],
  ['object', 'object', 3],
  ['array', 'array', 4],
  ['binary', 'binData', 5],
  ['objectId', 'objectId', 7],
  ['bool', 'bool', 8],
  ['date', 'date', 9],
  ['null', 'null', 10],
  ['regex', 'regex', 11],
  ['code', 'javascript', 13],
  ['symbol', 'symbol', 14],
  ['int', 'int', 16],
  ['timestamp', 'timestamp', 17],
  ['long', 'long', 18],
  ['decimal', 'decimal', 19],
  ['minKey', 'minKey', -1],
  ['maxKey', 'maxKey', 127],
]

const NAMES = new Map(TYPES.map(([kind, name]) => [kind, name]))
const KINDS = new Map<string | number, readonly DocumentValueKind[]>([
  ...TYPES.flatMap(([kind, name, number]) => {
    return [
      [name, [kind]],
      [number, [kind]],
    ] as const
  }),
  ['number', ['double', 'int', 'long', 'decimal']],
])

export const TYPE_NAMES: readonly string[] = [...KINDS.keys()].filter((key) => typeof key === 'string')

/** `missing` for what is not there. */
export function typeName(value: DocumentValue | undefined): string {
  return value === undefined ? 'missing' : NAMES.get(value.kind)!
}

/** What a name or a number stands for: one type, or for `number` all of numbers. */
export function kindsNamed(name: string | number): readonly DocumentValueKind[] | undefined {
  return KINDS.get(name)
}
