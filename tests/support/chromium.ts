import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import puppeteer, { type Browser, type Page } from 'puppeteer-core'

/**
 * A headless Chromium from npm, unpacked into a folder of its own, or the one that `SLUICE_TEST_CHROMIUM` names.
 * Disposing of it leaves nothing behind.
 */
export class TestBrowser implements AsyncDisposable {
  /** Warnings, errors and uncaught exceptions of all pages. */
  readonly complaints: string[] = []
  readonly #browser: Browser
  readonly #folder: string

  private constructor(browser: Browser, folder: string) {
    this.#browser = browser
    this.#folder = folder
  }

  static async start(): Promise<TestBrowser> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-chromium-'))
    try {
      const { executablePath, args, libraries } = await unpack(folder)
      // The configuration of the package means fonts in /tmp: without any, pages have no text at all.
      const fonts = join(folder, 'fonts')
      mkdirSync(fonts, { recursive: true })
      writeFileSync(
        join(fonts, 'fonts.conf'),
        `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><dir>${fonts}</dir><dir>/usr/share/fonts</dir><cachedir>${folder}/fonts-cache</cachedir></fontconfig>`,
      )
      const browser = await puppeteer.launch({
        executablePath,
        args: [...args],
        headless: 'shell',
        env: {
          PATH: process.env['PATH'],
          HOME: folder,
          TMPDIR: folder,
          LD_LIBRARY_PATH: libraries,
          FONTCONFIG_PATH: fonts,
          FONTCONFIG_FILE: join(fonts, 'fonts.conf'),
        },
        userDataDir: join(folder, 'profile'),
      })
      return new TestBrowser(browser, folder)
    } catch (error) {
      rmSync(folder, { recursive: true, force: true })
      throw error
    }
  }

  async open(url: string): Promise<Page> {
    const page = await this.#browser.newPage()
    await page.setViewport({ width: 1000, height: 900 })
    page.on('console', (message) => {
      const type = message.type()
      if (type === 'error' || type === 'warn') this.complaints.push(`${type}: ${message.text()}`)
    })
    page.on('pageerror', (error) => this.complaints.push(`uncaught: ${String(error)}`))
    page.on('requestfailed', (request) => this.complaints.push(`failed: ${request.url()}`))
    await page.goto(url)
    return page
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close()
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

interface Unpacked {
  readonly executablePath: string
  readonly args: readonly string[]
  /** Folder of the libraries that a small system lacks. */
  readonly libraries: string
}

/** The package unpacks into the temporary folder, its libraries only where it believes that it runs on AWS Lambda. */
async function unpack(folder: string): Promise<Unpacked> {
  const own = process.env['SLUICE_TEST_CHROMIUM'] ?? ''
  if (own !== '') return { executablePath: own, args: ['--no-sandbox'], libraries: '' }
  const platform = `${process.platform}-${process.arch}`
  if (platform !== 'linux-x64')
    throw new Error(`npm has no Chromium for ${platform}: name one of yours in SLUICE_TEST_CHROMIUM.`)
  const names = ['TMPDIR', 'AWS_EXECUTION_ENV', 'LD_LIBRARY_PATH', 'FONTCONFIG_PATH'] as const
  const before = names.map((name) => [name, process.env[name]] as const)
  process.env['TMPDIR'] = folder
  process.env['AWS_EXECUTION_ENV'] = 'AWS_Lambda_nodejs24.x'
  try {
    const { default: chromium } = await import('@sparticuz/chromium')
    return {
      executablePath: await chromium.executablePath(),
      // The page keeps to the rules of browsers.
      args: chromium.args.filter((arg) => arg !== '--disable-web-security'),
      libraries: join(folder, 'al2023', 'lib'),
    }
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}
