/**
 * Regular expressions as MongoDB takes them (PCRE in UTF mode), made into JavaScript's with the same meaning:
 *
 * - `.` stops at U+000A only, `$` also matches before a U+000A at the end of the text, `^` and `$` with option `m` know no
 *   other line end, `\s` and `\h` are spaces of ASCII.
 * - `\A \z \Z \Q...\E \h \H \R (?P<name>...) (?P=name)`, POSIX classes such as `[[:alpha:]]`, and options at the very
 *   start such as `(?i)` are understood. Options: `i m s x u`.
 *
 * What JavaScript cannot do is refused, never taken for something else: possessive quantifiers and atomic groups,
 * recursion, conditions, comments, `\K \G \X \C \N \p` of scripts that JavaScript calls otherwise, and options that
 * are switched on in the middle.
 */

export type CompiledPattern =
  | { readonly test: (text: string) => boolean; readonly reason: null }
  /** A clause without a full stop, and without the pattern. */
  | { readonly test: null; readonly reason: string }

const OPTIONS = /^[imsxu]*$/
const SPACE = String.raw`\t\n\v\f\r `
/** All code points but those of `SPACE`. */
const NO_SPACE = String.raw`\0-\x08\x0e-\x1f!-\u{10ffff}`
const BLANK = String.raw`\t \xa0`
const START = String.raw`(?<![\s\S])`
const END = String.raw`(?![\s\S])`

/** By POSIX, in ASCII. */
const POSIX: Readonly<Record<string, string>> = {
  alpha: 'A-Za-z',
  digit: '0-9',
  alnum: '0-9A-Za-z',
  upper: 'A-Z',
  lower: 'a-z',
  space: SPACE,
  blank: String.raw`\t `,
  punct: String.raw`!-\/:-@\[-\x60\{-~`,
  cntrl: String.raw`\0-\x1f\x7f`,
  graph: '!-~',
  print: ' -~',
  xdigit: '0-9A-Fa-f',
  word: String.raw`\w`,
}

/** Escapes with the same meaning in both, without what follows them. */
const SAME_ESCAPES = new Set('dDwWbBtnrfv0123456789')

export function compilePattern(pattern: string, options: string): CompiledPattern {
  const start = /^\(\?([imsx]+)\)/.exec(pattern)
  const flags = options + (start?.[1] ?? '')
  if (!OPTIONS.test(flags)) return { test: null, reason: 'has an option that is none of i, m, s, x, u' }
  try {
    const translated = new Translation(pattern.slice(start?.[0].length ?? 0), new Set(flags)).run()
    const regex = new RegExp(translated, flags.includes('i') ? 'iu' : 'u')
    return { test: (text) => regex.test(text), reason: null }
  } catch (error) {
    const reason =
      error instanceof Untranslatable ? error.message : 'is no regular expression that is supported'
    return { test: null, reason }
  }
}

class Untranslatable extends Error {}

class Translation {
  readonly #pattern: string
  readonly #flags: ReadonlySet<string>
  #at = 0

  constructor(pattern: string, flags: ReadonlySet<string>) {
    this.#pattern = pattern
    this.#flags = flags
  }

  run(): string {
    let result = ''
    while (this.#at < this.#pattern.length) result += this.#part()
    return result
  }

  #part(): string {
    const part = this.#take()
    switch (part) {
      case '\\':
        return this.#escape()
      case '[':
        return this.#class()
      case '(':
        return this.#group()
      case '.':
        return this.#flags.has('s') ? String.raw`[\s\S]` : String.raw`[^\n]`
      case '^':
        return this.#flags.has('m') ? String.raw`(?<![^\n])` : START
      case '$':
        return this.#flags.has('m') ? String.raw`(?![^\n])` : String.raw`(?=\n?${END})`
      case '*':
      case '+':
      case '?':
        return this.#quantifier(part)
      case '{': {
        // Braces that count nothing are text.
        const count = /^\d+(,\d*)?\}/.exec(this.#pattern.slice(this.#at))?.[0]
        return count === undefined ? literal(part) : this.#quantifier(part + this.#skip(count, count))
      }
      case '}':
      case ']':
        return literal(part)
      case '#':
        return this.#flags.has('x') ? this.#comment() : part
      default:
        return this.#flags.has('x') && /\s/.test(part) ? '' : part
    }
  }

  #quantifier(text: string): string {
    if (this.#pattern[this.#at] === '+') throw new Untranslatable('has a possessive quantifier')
    return text
  }

  #escape(): string {
    const name = this.#take()
    switch (name) {
      case 'A':
        return START
      case 'z':
        return END
      case 'Z':
        return String.raw`(?=\n?${END})`
      case 's':
        return `[${SPACE}]`
      case 'S':
        return `[^${SPACE}]`
      case 'h':
        return `[${BLANK}]`
      case 'H':
        return `[^${BLANK}]`
      case 'R':
        return String.raw`(?:\r\n|[\n\v\f\r\x85\u2028\u2029])`
      case 'Q':
        return this.#quoted()
      default:
        return this.#plainEscape(name)
    }
  }

  #plainEscape(name: string): string {
    if (name === 'a') return String.raw`\x07`
    if (name === 'e') return String.raw`\x1b`
    if (name === 'x') return this.#hex()
    if (name === 'p' || name === 'P' || name === 'k') return `\\${name}`
    if (SAME_ESCAPES.has(name)) return `\\${name}`
    if (/[A-Za-z]/.test(name)) throw new Untranslatable(`has \\${name}, which is not supported`)
    return literal(name)
  }

  /** `\x41` or `\x{1F600}`. */
  #hex(): string {
    const match = /^(?:\{([\da-f]{1,6})\}|([\da-f]{2}))/i.exec(this.#pattern.slice(this.#at))
    if (match === null) throw new Untranslatable('has \\x without two hex digits')
    this.#at += match[0].length
    return `\\u{${match[1] ?? match[2]}}`
  }

  #quoted(): string {
    const end = this.#pattern.indexOf(String.raw`\E`, this.#at)
    const text = this.#pattern.slice(this.#at, end === -1 ? undefined : end)
    this.#at = end === -1 ? this.#pattern.length : end + 2
    return Array.from(text, literal).join('')
  }

  #comment(): string {
    const end = this.#pattern.indexOf('\n', this.#at)
    this.#at = end === -1 ? this.#pattern.length : end + 1
    return ''
  }

  #group(): string {
    const rest = this.#pattern.slice(this.#at)
    const named = /^\?P?<([A-Za-z_]\w*)>/.exec(rest)
    if (named !== null) return this.#skip(named[0], `(?<${named[1]}>`)
    const reference = /^\?P=([A-Za-z_]\w*)\)/.exec(rest)
    if (reference !== null) return this.#skip(reference[0], `\\k<${reference[1]}>`)
    const plain = /^\?(?::|=|!|<=|<!)/.exec(rest)
    if (plain !== null) return this.#skip(plain[0], `(${plain[0]}`)
    if (rest.startsWith('?') || rest.startsWith('*')) {
      throw new Untranslatable('has a group of a kind that is not supported')
    }
    return '('
  }

  #class(): string {
    let result = '['
    if (this.#pattern[this.#at] === '^') result += this.#take()
    // A bracket that comes first is a member.
    if (this.#pattern[this.#at] === ']') result += literal(this.#take())
    while (this.#pattern[this.#at] !== ']') result += this.#member()
    return result + this.#take()
  }

  #member(): string {
    const posix = /^\[:(\^?)(\w+):\]/.exec(this.#pattern.slice(this.#at))
    if (posix !== null) {
      const members = posix[1] === '' ? POSIX[posix[2]!] : undefined
      if (members === undefined) throw new Untranslatable('has a POSIX class that is not supported')
      return this.#skip(posix[0], members)
    }
    const part = this.#take()
    if (part !== '\\') return part === '[' ? String.raw`\[` : part
    const name = this.#take()
    switch (name) {
      case 's':
        return SPACE
      case 'S':
        return NO_SPACE
      case 'h':
        return BLANK
      case 'Q':
        return this.#quoted()
      case 'B':
        throw new Untranslatable('has \\B in a class')
      case '-':
        return String.raw`\-`
      default:
        return this.#plainEscape(name)
    }
  }

  #skip(source: string, result: string): string {
    this.#at += source.length
    return result
  }

  /** The next code point. */
  #take(): string {
    const point = this.#pattern.codePointAt(this.#at)
    if (point === undefined) throw new Untranslatable('ends too early')
    const text = String.fromCodePoint(point)
    this.#at += text.length
    return text
  }
}

/** The character itself, in and out of classes. */
function literal(character: string): string {
  return /[\^$\\.*+?()[\]{}|/-]/.test(character)
    ? `\\u{${character.codePointAt(0)!.toString(16)}}`
    : character
}
