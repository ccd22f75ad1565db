"use client"

import { useEffect, useRef, type RefObject } from "react"

/** Return a ref that is true while the component is mounted, for code that runs after an asynchronous response. */
export function useMounted(): Readonly<RefObject<boolean>> {
  const mounted = useRef(false)
  useEffect(() => {
    mounted.current = true
    return () => {
      mounted.current = false
    }
  }, [])
  return mounted
}
