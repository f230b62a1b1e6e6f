/** The published state as one transaction. */
import { FrameBuffer } from './frame-buffer.ts'
import type { LogSnapshot } from './log-reader.ts'
import * as messages from './messages.ts'
import type { Publications } from './publications.ts'
import type { Sender } from './sender.ts'
import type { ZeroView } from './zero-view.ts'

/** Bytes of messages that are made before they are handed over. */
const PART_BYTES = 256 * 1024

/** Sends all of it, as fast as the socket takes it; ends early when that is gone. Returns the number of rows. */
export async function sendSnapshot(
  snapshot: LogSnapshot,
  view: ZeroView,
  publications: Publications,
  sender: Sender,
): Promise<number> {
  const watermark = messages.watermarkText(snapshot.watermark)
  const out = new FrameBuffer(PART_BYTES * 2)
  let count = 0
  out.message(messages.begin(watermark))
  for (const stored of snapshot.tables) {
    const table = view.table(stored.version)
    if (table === null) continue
    for (const message of view.create(table)) out.message(message)
    const masks = table.frames.filtered ? publications.masksOf(stored.version) : null
    for (const { key, cells } of snapshot.rows(stored)) {
      if (masks !== null && !table.frames.shows(masks.of(key, cells))) continue
      table.frames.stored(key, cells, out)
      count++
      if (out.byteSize < PART_BYTES) continue
      await sender.send(out)
      if (!sender.isOpen) return count
    }
  }
  const versions = snapshot.tables.map(({ version }) => version)
  for (const message of view.missingTables(versions, snapshot.permissions)) out.message(message)
  out.message(messages.commit(watermark, null))
  await sender.send(out)
  return count
}
