import { createTransport } from "nodemailer"
import { settings as current, type Settings } from "./settings"

/** Return whether users can reset a forgotten password: with SMTP, or in development, where the link is logged instead. */
export function isPasswordResetAvailable(settings: Settings = current()): boolean {
  return settings.smtp !== undefined || !settings.production
}

/**
 * Send the mail with a password reset link; log an error instead of throwing. A request must not await this: its duration
 * would reveal whether the address belongs to an account.
 */
export async function sendPasswordReset(settings: Settings, to: string, token: string): Promise<void> {
  const link = `${settings.url}/reset-password?token=${encodeURIComponent(token)}`
  if (settings.smtp === undefined) {
    console.info(`Password reset for ${to}: ${link}`)
    return
  }
  const transport = createTransport({
    url: settings.smtp.url,
    connectionTimeout: 10_000,
    greetingTimeout: 10_000,
    socketTimeout: 20_000,
  })
  try {
    await transport.sendMail({
      from: settings.smtp.from,
      to,
      subject: "Choose a new password",
      text: [
        "Somebody asked for a new password for your account. Choose it here:",
        link,
        "The link works once, for one hour. If it was not you, do nothing: your password stays as it is.",
      ].join("\n\n"),
    })
  } catch (error) {
    console.error(
      `The mail with the password link could not be sent: ${error instanceof Error ? error.message : error}`,
    )
  } finally {
    transport.close()
  }
}
