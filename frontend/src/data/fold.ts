/**
 * Small Latin letters that Unicode does not decompose, by the letters that are typed instead of them. This table and the
 * next one are those of the API (`taskapi/tasks/folding.py`).
 */
const LETTERS = {
  a: "ᶏⱥ",
  aa: "ꜳ",
  ae: "æ",
  ao: "ꜵ",
  au: "ꜷ",
  av: "ꜹꜻ",
  ay: "ꜽ",
  b: "ƀƃɓᵬᶀꞗ",
  c: "ƈȼɕꞓꞔ",
  d: "ðđƌȡɖɗᵭᶁᶑꟈ",
  e: "ɇᶒⱸꬴ",
  et: "ꝫ",
  f: "ƒᵮᶂꞙ",
  g: "ǥɠᶃꞡ",
  h: "ħɦⱨꞕ",
  hv: "ƕ",
  i: "ıɨᶖ",
  is: "ꝭ",
  j: "ȷɉʝ",
  k: "ƙᶄⱪꝁꝃꝅꞣ",
  l: "łƚȴɫɬɭᶅⱡꝉꞎꬷꬸꬹ",
  m: "ɱᵯᶆꬺ",
  n: "ŋƞȵɲɳᵰᶇꞑꞥꬻ",
  o: "øⱺꝋꝍ",
  oe: "œ",
  oi: "ƣ",
  oo: "ꝏ",
  ou: "ȣ",
  p: "ƥᵱᵽᶈꝑꝓꝕ",
  q: "ĸɋʠꝗꝙ",
  r: "ɍɼɽɾᵲᵳᶉꞧꭉ",
  s: "ȿʂᵴᶊꞩꟊ",
  t: "ŧƫƭȶʈᵵⱦ",
  th: "þᵺ",
  tz: "ꜩ",
  u: "ʉᶙꞹꭎꭒ",
  ue: "ᵫ",
  ui: "ꭐ",
  um: "ꝸ",
  uo: "ꭣ",
  v: "ʋᶌⱱⱴꝟ",
  vy: "ꝡ",
  w: "ⱳ",
  x: "ᶍꭖꭗꭘꭙ",
  y: "ƴɏỿꭚ",
  z: "ƶȥɀʐʑᵶᶎⱬ",
}

/** Quotes, apostrophes, primes and dashes, by the ASCII character that keyboards have instead of them. */
const PUNCTUATION = {
  "'": "‘’‚‛′‹›ʹʻʼʽˈ՚׳❛❜",
  '"': "“”„‟«»″〝〞〟״❝❞",
  "-": "‐‒–—―⸺⸻−⁃־",
}

const REPLACED = new Map(
  Object.entries({ ...LETTERS, ...PUNCTUATION }).flatMap(([ascii, many]) =>
    [...many].map((each) => [each, ascii] as const),
  ),
)

/** Combining marks of all scripts, without the voicing marks of kana, and characters that are not displayed. */
const REMOVED = /(?![\u3099\u309a])[\p{Mn}\p{Me}]|\p{Default_Ignorable_Code_Point}/gu

/** Fold case, accents and typography of a text as the API does for search and sort: `Łódź – “x”` -> `lodz - "x"`. */
export function foldText(text: string): string {
  // Together these are the case folding of Unicode: lower case turns "ẞ" into "ß", and upper case that into "SS".
  const cased = text.normalize("NFKD").toLowerCase().toUpperCase().toLowerCase().replaceAll("ς", "σ")
  const folded = cased.normalize("NFKD")
  return folded
    .replaceAll(" \u0301", "'") // the decomposition of U+00B4, which is typed as an apostrophe
    .replaceAll("\u2032\u2032", '"') // that of U+2033, for inches
    .replace(REMOVED, "")
    .replace(/[^\0-\x7f]/gu, (each) => REPLACED.get(each) ?? each)
    .normalize("NFKC")
}
