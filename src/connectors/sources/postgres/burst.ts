/**
 * Reading in bursts. A reader that keeps up with a walsender makes it send one TCP segment per row; while our receive
 * window is closed the server's kernel merges the small writes instead, which costs both sides half the CPU or less.
 * So under load, and only then, the socket rests for a few milliseconds after each small read.
 *
 * Only for TCP and TLS: a Unix socket's send buffer holds about 180 rows, a pause would stall the server.
 */
import type { Socket } from 'node:net'

/** Length of a rest. */
const REST_MS = 10
/** A turn of the event loop that brought less than this is small. Below the stream's 64 KB high-water mark. */
const SMALL_TURN_BYTES = 32 * 1024
/** Load: more than this arrived in about the last 50 ms. */
const LOAD_BYTES = 128 * 1024
const WINDOW_MS = 50

export class BurstMeter {
  readonly #stream: Socket
  /** True while somebody else keeps the socket paused. */
  readonly #isHeld: () => boolean
  #turnBytes = 0
  #recentBytes = 0
  #recentAt = performance.now()
  #rest: NodeJS.Timeout | null = null

  constructor(stream: Socket, isHeld: () => boolean) {
    this.#stream = stream
    this.#isHeld = isHeld
  }

  /** True while the socket rests. */
  get resting(): boolean {
    return this.#rest !== null
  }

  add(bytes: number): void {
    this.#turnBytes += bytes
  }

  endOfTurn(): void {
    const now = performance.now()
    const bytes = this.#turnBytes
    this.#turnBytes = 0
    this.#recentBytes = this.#recentBytes * Math.exp((this.#recentAt - now) / WINDOW_MS) + bytes
    this.#recentAt = now
    if (bytes >= SMALL_TURN_BYTES || this.#recentBytes < LOAD_BYTES || this.#rest !== null || this.#isHeld())
      return
    this.#stream.pause()
    this.#rest = setTimeout(() => {
      this.#rest = null
      if (!this.#isHeld()) this.#stream.resume()
    }, REST_MS)
  }

  stop(): void {
    if (this.#rest !== null) clearTimeout(this.#rest)
    this.#rest = null
  }
}
