import { InternalError } from '../../../core/error.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import { arrayWriter, jsonArrayWriter } from './cell-arrays.ts'
import { writeDecimal, writeFloat, writeInteger, writeNumber } from './cell-numbers.ts'
import { hexBytes, writeBase64, writeBoolean, writeHexAsBase64, writeJson, writeString } from './cell-text.ts'
import { writeDate, writeTime, writeTimestamp, writeZonedTime } from './cell-times.ts'
import type { CellWriter } from './cells.ts'
import { readCells } from './record-reader.ts'
import { RecordWriter } from './record-writer.ts'
import type { ColumnEncoding, ScalarEncoding } from './types.ts'

const SCALARS: Readonly<Record<ScalarEncoding, CellWriter>> = {
  boolean: writeBoolean,
  integer: writeInteger,
  decimal: writeDecimal,
  float: writeFloat,
  string: writeString,
  base64: writeBase64,
  json: writeJson,
  date: writeDate,
  time: writeTime,
  timetz: writeZonedTime,
  timestamp: writeTimestamp,
}

/** The writer of values of a column. */
export function cellWriter(encoding: ColumnEncoding): CellWriter {
  if (encoding === 'json[]') return jsonArrayWriter()
  if (encoding === 'base64[]') return arrayWriter(writeHexAsBase64)
  if (encoding === 'float[]') return arrayWriter(writeNumber)
  if (encoding.endsWith('[]')) return arrayWriter(scalarWriter(encoding.slice(0, -2)))
  return scalarWriter(encoding)
}

function scalarWriter(encoding: string): CellWriter {
  if (Object.hasOwn(SCALARS, encoding)) return SCALARS[encoding as ScalarEncoding]
  throw new InternalError('zero/unknown-encoding', `the change log names an encoding "${encoding}"`, {
    fix: 'It was written by a newer version of Sluice: use that one.',
  })
}

/** The JSON text of canonical text, for single values. Throws `CellRefused`. */
export function jsonText(encoding: ColumnEncoding, text: string): string {
  const out = new RecordWriter(1024)
  const bytes = (encoding === 'base64' ? hexBytes(text) : Buffer.from(text)) as Arena
  cellWriter(encoding)(bytes, 0, bytes.length, out)
  return readCells(out.bytes, 0, out.at)[0]!
}
