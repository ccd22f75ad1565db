/** Return the IANA name of the browser's time zone; undefined if the browser does not know it. */
export function browserTimeZone(): string | undefined {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone as string | undefined
  // "Etc/Unknown" is the name that ICU has for that.
  return zone === "Etc/Unknown" ? undefined : zone
}
