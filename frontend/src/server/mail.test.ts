import { createServer, type AddressInfo } from "node:net"
import { afterEach, expect, it, vi } from "vitest"
import { ORIGIN, SECRET } from "@/testing/authFixture"
import { isPasswordResetAvailable, sendPasswordReset } from "./mail"
import { readSettings } from "./settings"

afterEach(() => vi.restoreAllMocks())

const ENOUGH = { BETTER_AUTH_SECRET: SECRET, BETTER_AUTH_URL: ORIGIN, API_URL: ORIGIN }

/** Start a minimal SMTP server that records mails. */
async function mailServer(): Promise<{ url: string; mails: string[]; close: () => void }> {
  const mails: string[] = []
  const server = createServer((socket) => {
    let inMail = false
    let mail = ""
    const say = (line: string) => socket.write(`${line}\r\n`)
    say("220 mail.test")
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      for (const line of chunk.split("\r\n").slice(0, -1)) {
        if (inMail && line !== ".") mail += `${line}\n`
        else if (inMail) {
          inMail = false
          mails.push(mail)
          say("250 kept")
        } else if (line === "DATA") {
          inMail = true
          say("354 go on")
        } else if (line === "QUIT") socket.end("221 bye\r\n")
        else say("250 mail.test")
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  return { url: `smtp://127.0.0.1:${port}`, mails, close: () => server.close() }
}

it("is sent with a link to the reset page", async () => {
  const server = await mailServer()
  const settings = readSettings({ ...ENOUGH, SMTP_URL: server.url, MAIL_FROM: "Tasks <tasks@tasks.test>" })
  await sendPasswordReset(settings, "ada@example.com", "the-token")
  server.close()
  expect(server.mails).toHaveLength(1)
  expect(server.mails[0]).toContain("From: Tasks <tasks@tasks.test>")
  expect(server.mails[0]).toContain("To: ada@example.com")
  expect(server.mails[0]?.replaceAll("=\n", "").replaceAll("=3D", "=")).toContain(
    `${ORIGIN}/reset-password?token=the-token`,
  )
})

it("is logged as an error without the link when the mail server is unavailable", async () => {
  const server = await mailServer()
  server.close()
  const log = vi.spyOn(console, "error").mockImplementation(() => {})
  const settings = readSettings({ ...ENOUGH, SMTP_URL: server.url, MAIL_FROM: "tasks@tasks.test" })
  await sendPasswordReset(settings, "ada@example.com", "the-token")
  expect(log.mock.calls.flat().join()).toContain("could not be sent")
  expect(log.mock.calls.flat().join()).not.toContain("the-token")
})

it("is available with SMTP or in development", () => {
  const smtp = { SMTP_URL: "smtp://mail.test", MAIL_FROM: "tasks@tasks.test" }
  expect(isPasswordResetAvailable(readSettings(ENOUGH))).toBe(true)
  expect(isPasswordResetAvailable(readSettings({ ...ENOUGH, NODE_ENV: "production" }))).toBe(false)
  expect(isPasswordResetAvailable(readSettings({ ...ENOUGH, ...smtp, NODE_ENV: "production" }))).toBe(true)
})
