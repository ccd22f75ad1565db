/** Loads a page anew instead of going to it within this one, so that nothing of the person stays in memory. */
export function loadPage(path: "/sign-in" | "/sign-in?expired=1" | "/sign-up"): void {
  window.location.assign(path)
}
