import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'

interface Watched {
  readonly socket: WebSocket
  readonly stream: Duplex
  /** Something was heard since the last look. */
  alive: boolean
  /** The last ping has been handed to the kernel. */
  pinged: boolean
  /** At the last look: bytes that the kernel had taken, and whether more waited than it would take. */
  taken: number
  full: boolean
}

/**
 * Pings every socket once per interval, and ends those from which nothing is heard by the next time: a peer that is
 * gone without a word is noticed after two intervals at the latest. Where so much is on its way that the answer to a
 * ping has to wait, the peer is there as long as that shrinks: a full kernel takes more only when the peer has.
 */
export class Heartbeat {
  readonly #watched = new Set<Watched>()
  readonly #timer: NodeJS.Timeout
  readonly #onDead: (socket: WebSocket) => void

  constructor(intervalMs: number, onDead: (socket: WebSocket) => void) {
    this.#onDead = onDead
    this.#timer = setInterval(() => this.#look(), intervalMs)
  }

  /** Until the socket is closed. `stream` is what carries it. */
  watch(socket: WebSocket, stream: Duplex): void {
    const watched: Watched = { socket, stream, alive: true, pinged: true, taken: 0, full: false }
    const heard = () => (watched.alive = true)
    this.#watched.add(watched)
    socket.on('pong', heard).on('message', heard)
    socket.once('close', () => this.#watched.delete(watched))
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#watched.clear()
  }

  #look(): void {
    for (const watched of this.#watched) {
      const { socket, stream } = watched
      const taken = takenFrom(stream)
      const full = stream.writableLength > 0
      const moving = full && watched.full && taken > watched.taken
      watched.taken = taken
      watched.full = full
      if (watched.alive || moving) {
        watched.alive = false
        this.#ping(watched)
      } else {
        this.#watched.delete(watched)
        this.#onDead(socket)
        socket.terminate()
      }
    }
  }

  #ping(watched: Watched): void {
    if (!watched.pinged || watched.socket.readyState !== watched.socket.OPEN) return
    watched.pinged = false
    watched.socket.ping('', false, () => (watched.pinged = true))
  }
}

function takenFrom(stream: Duplex): number {
  const written = (stream as Duplex & { readonly bytesWritten?: number }).bytesWritten ?? 0
  return written - stream.writableLength
}
