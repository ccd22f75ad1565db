/** Load a page with a full page load instead of client-side navigation, so that no user data stays in memory. */
export function loadPage(path: "/sign-in" | "/sign-in?expired=1" | "/sign-up"): void {
  window.location.assign(path)
}
