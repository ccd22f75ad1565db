"use client"

import { useEffect, useRef, type RefObject } from "react"

/** Whether the component is still on the page, for what is answered only after a while. */
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
