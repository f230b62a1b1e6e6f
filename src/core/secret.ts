const SHOWN = '<redacted>'
/** What Node prints for the value; the symbol is registered so that no import is needed. */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom')

/**
 * A text that must not be seen: a password, a token, an address that contains one. Printing, joining, inspecting and
 * serialising it give `<redacted>`; only `reveal` gives the text (law L14).
 */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  /** The text itself. Call it where the driver is given its options, and keep the result nowhere else. */
  reveal(): string {
    return this.#text
  }

  toString(): string {
    return SHOWN
  }

  toJSON(): string {
    return SHOWN
  }

  [INSPECT](): string {
    return SHOWN
  }
}
