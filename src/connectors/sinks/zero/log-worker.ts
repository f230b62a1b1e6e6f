/** The thread that writes the change log: one request after the other, each answered. */
import { parentPort, workerData } from 'node:worker_threads'
import type { EarlierOptions } from './earlier-server.ts'
import { toFailure } from './log-errors.ts'
import { type LogFile, openLogFile } from './log-file.ts'
import type { Answer, Opened, Request } from './log-messages.ts'
import { keepUp } from './log-upkeep.ts'
import { LogWriter, LostError } from './log-writer.ts'
import { type FilterNumbers, type PublicationDefinitions, Publications } from './publications.ts'

export interface LogWorkerData {
  readonly path: string
  readonly publications: PublicationDefinitions
  readonly earlier: EarlierOptions
}

const port = parentPort!
const { path, publications: definitions, earlier } = workerData as LogWorkerData

/** First the log is opened; then requests come, and go unanswered never. */
function start(): void {
  let writer: LogWriter
  let opened: Opened
  let filters: FilterNumbers
  try {
    const file = openLogFile(path, earlier)
    try {
      const publications = new Publications(definitions, storedNumbers(file))
      writer = new LogWriter(file, Date.now, {
        define: (version) => publications.define(version),
        forget: (source) => publications.forget(source),
        masksOf(version) {
          const masks = publications.masksOf(version)
          return masks === null ? null : (key, cells) => masks.of(key, cells)
        },
      })
      const numbers = publications.numbers
      writer.beside((store) => store.setMeta('filters', JSON.stringify(numbers)))
      filters = numbers
      opened = { ...writer.opened(), filters }
    } catch (error) {
      file.close()
      throw error
    }
  } catch (error) {
    port.postMessage({ failure: toFailure(error, false) })
    return
  }
  let closed = false
  port.on('message', ({ id, request }: { id: number; request: Request }) => {
    // What was asked after that learns of the end by the end of the thread.
    if (closed) return
    port.postMessage({ id, answer: answerTo(writer, request, filters) })
    if (request.kind !== 'close') return
    closed = true
    port.close()
  })
  port.postMessage({ opened })
}

/** Filters keep their numbers, so that stored masks keep their meaning. */
function storedNumbers({ db }: LogFile): FilterNumbers {
  const row = db.prepare("SELECT value FROM meta WHERE name = 'filters'").get() as
    | { value: string }
    | undefined
  return row === undefined ? {} : (JSON.parse(row.value) as FilterNumbers)
}

function answerTo(writer: LogWriter, request: Request, filters: FilterNumbers): Answer {
  writer.begin()
  try {
    switch (request.kind) {
      case 'apply':
        return writer.apply(request.chunk)
      case 'change':
        return writer.change(request.change, request.forget)
      case 'rewind':
        return writer.rewind(request.position)
      case 'bump':
        return writer.bump()
      case 'permissions':
        return writer.permissions(request.value)
      case 'publications':
        return writer.beside((store) => store.savePublications(request.fingerprints, writer.head))
      case 'subscriber':
        return writer.beside((store) => store.saveSubscriber(request))
      case 'upkeep':
        return writer.upkeep((store) => keepUp(store, writer.head, request.request))
      case 'reset':
        writer.reset()
        return { kind: 'opened', opened: { ...writer.opened(), filters } }
      case 'close':
        return writer.close()
    }
  } catch (error) {
    return { kind: 'failed', failure: toFailure(error, error instanceof LostError) }
  }
}

start()
