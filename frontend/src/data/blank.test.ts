import { expect, test } from "vitest"
import { isBlank } from "./blank"

const INVISIBLE = [
  "",
  " ",
  "\u200b",
  "\u200d\ufeff",
  "\u202e",
  "\u00ad",
  "\ufe0f",
  "\u3164 \u2800",
  "\u{1d159}",
  "\u{e0041}",
  "\ufff9",
]

test.each(INVISIBLE)("a text of invisible characters is blank: %j", (text) => {
  expect(isBlank(text)).toBe(true)
})

test.each([".", "\u200bx", "❤\ufe0f", "👨\u200d👩", "\u2801"])(
  "a text that shows something is not blank: %j",
  (text) => {
    expect(isBlank(text)).toBe(false)
  },
)
