/** Watermarks of clients for programs that run a pipeline themselves. Light: nothing of the sink is imported. */
import { resolve } from 'node:path'
import { CoreError } from '../../../core/error.ts'
import type { ClientWatermarks } from './client-watermarks.ts'

const open = new Map<string, ClientWatermarks>()

/** How far each client of a Zero sink is; see `zeroWatermarks`. */
export interface ZeroWatermarks {
  /** Ids of everybody who follows or has followed: `<token>/<appID>_<shard>`, or `<token>/client/<name>` of the gateway. */
  clients(): readonly string[]
  /** The last watermark that the client has acknowledged for the table; null when there is none. */
  getWatermark(clientId: string, table: string): string | null
  /**
   * A client of the gateway receives everything after this watermark again, from its next connection on; those that are
   * open are ended. Throws `CoreError` `zero/watermark` for a zero-cache, which keeps its watermark itself, for a table
   * that does not exist and for a watermark that is not in the change log.
   */
  setWatermark(clientId: string, table: string, watermark: string): void
}

/**
 * The clients of the Zero sink with this change log, which a pipeline of this process has open. Throws `CoreError`
 * `zero/watermark` when none has.
 */
export function zeroWatermarks(path: string): ZeroWatermarks {
  const clients = open.get(resolve(path))
  if (clients === undefined)
    throw refused(`no pipeline of this process has the change log ${path} open`, 'Start the pipeline first.')
  return {
    clients: () => clients.ids(),
    getWatermark(id, table) {
      const answer = clients.of(id, table)
      if (typeof answer === 'object' && answer !== null) throw refused(answer.refused)
      return answer
    },
    setWatermark(id, table, watermark) {
      const refusal = clients.set(id, table, watermark)
      if (refusal !== null) throw refused(refusal.refused)
    },
  }
}

/** Makes them known under the path of the log; returns how to end that. */
export function offerWatermarks(path: string, clients: ClientWatermarks): () => void {
  const key = resolve(path)
  open.set(key, clients)
  return () => {
    if (open.get(key) === clients) open.delete(key)
  }
}

function refused(message: string, fix = 'Look at the clients, their tables and the log again.'): CoreError {
  return new CoreError('zero/watermark', message, { fix })
}
