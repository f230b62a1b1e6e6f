/**
 * Values as filters and expressions see them, whatever source they come from: the types of BSON (bsonspec.org, version
 * 1.1), which hold what SQL columns hold too. `undefined` stands for a field that is not there, which is not null.
 */
export type DocumentValue =
  | { readonly kind: 'null' }
  | { readonly kind: 'bool'; readonly value: boolean }
  /** A 32-bit integer. */
  | { readonly kind: 'int'; readonly value: number }
  /** A 64-bit integer. */
  | { readonly kind: 'long'; readonly value: bigint }
  | { readonly kind: 'double'; readonly value: number }
  /** Digits with `-` and `.` and no exponent, or `NaN`, `Infinity`, `-Infinity`. */
  | { readonly kind: 'decimal'; readonly value: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'object'; readonly value: ReadonlyMap<string, DocumentValue> }
  | { readonly kind: 'array'; readonly value: readonly DocumentValue[] }
  /** `subtype` 4 is a UUID, 0 plain bytes. */
  | { readonly kind: 'binary'; readonly value: Uint8Array; readonly subtype: number }
  /** 24 hex digits, lower case. */
  | { readonly kind: 'objectId'; readonly value: string }
  /** Milliseconds since 1970 UTC, 64 bits signed. */
  | { readonly kind: 'date'; readonly value: bigint }
  /** Of the log: seconds in the upper, a counter in the lower 32 bits. Not a moment for users. */
  | { readonly kind: 'timestamp'; readonly value: bigint }
  | { readonly kind: 'regex'; readonly value: string; readonly options: string }
  | { readonly kind: 'code'; readonly value: string }
  | { readonly kind: 'symbol'; readonly value: string }
  | { readonly kind: 'minKey' }
  | { readonly kind: 'maxKey' }

export type ObjectValue = Extract<DocumentValue, { kind: 'object' }>
export type DocumentValueKind = DocumentValue['kind']

/** A document of which only what is asked for is decoded. */
export interface LazyDocument {
  /** A top-level field; undefined when it is not there. */
  field(name: string): DocumentValue | undefined
  /** All of it, as an object; only for rules that read the empty path. */
  whole(): ObjectValue
}
