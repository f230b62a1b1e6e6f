import { ChannelClosedError } from './error.ts'

/** Whatever knows how much memory it holds. */
export interface Sized {
  readonly byteSize: number
}

/**
 * A queue between one writer and one reader, bounded by bytes. `write` returns nothing while there is room and a
 * promise when the writer has to wait: the whole of back-pressure. An item larger than the budget passes alone.
 */
export class Channel<T extends Sized> {
  readonly #capacity: number
  #items: T[] = []
  #head = 0
  #bytes = 0
  #ended = false
  #failure: Error | null = null
  #reader: { resolve: (item: T | null) => void; reject: (error: Error) => void } | null = null
  #writers: { resolve: () => void; reject: (error: Error) => void }[] = []

  /** `capacity` in bytes. */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Bytes that wait to be read. */
  get bytes(): number {
    return this.#bytes
  }

  /** Hands an item over. Wait for the promise, when there is one, before writing more. Throws once closed. */
  write(item: T): void | Promise<void> {
    if (this.#failure !== null) throw this.#failure
    if (this.#ended)
      throw new ChannelClosedError('core/channel-closed', 'a batch was written to a closed channel')
    if (this.#reader !== null) {
      const reader = this.#reader
      this.#reader = null
      reader.resolve(item)
      return
    }
    this.#items.push(item)
    this.#bytes += item.byteSize
    if (this.#bytes >= this.#capacity)
      return new Promise((resolve, reject) => this.#writers.push({ resolve, reject }))
  }

  /** The next item at once when there is one, else a promise; null after the end. */
  read(): T | null | Promise<T | null> {
    if (this.#failure !== null) throw this.#failure
    const item = this.#items[this.#head]
    if (item === undefined) {
      if (this.#ended) return null
      return new Promise((resolve, reject) => {
        this.#reader = { resolve, reject }
      })
    }
    this.#items[this.#head++] = undefined as never
    if (this.#head === this.#items.length) {
      this.#items = []
      this.#head = 0
    }
    this.#bytes -= item.byteSize
    if (this.#writers.length > 0 && this.#bytes < this.#capacity) this.#release()
    return item
  }

  /** No more writes; what was written can still be read. */
  end(): void {
    this.#ended = true
    this.#reader?.resolve(null)
    this.#reader = null
    this.#release()
  }

  /** Both sides fail from now on; waiting items are dropped. */
  fail(error: Error): void {
    this.#failure = error
    this.#items = []
    this.#head = 0
    this.#bytes = 0
    this.#reader?.reject(error)
    this.#reader = null
    for (const writer of this.#writers.splice(0)) writer.reject(error)
  }

  #release(): void {
    for (const writer of this.#writers.splice(0)) writer.resolve()
  }
}
