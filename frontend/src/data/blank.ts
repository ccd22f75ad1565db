/** Spaces, and characters that show nothing: as in `taskapi/http/fields/invisible.py`. */
const BLANK = /^[\s\p{Default_Ignorable_Code_Point}\u2800\ufff9-\ufffb\u{13441}\u{13442}\u{1d159}]*$/u

/** Return whether a text has no visible character: the API rejects such a title or tag. */
export function isBlank(text: string): boolean {
  return BLANK.test(text)
}
