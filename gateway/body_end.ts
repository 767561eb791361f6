/**
 * When an answer's body is over, in TypeScript forms.
 *
 * @module
 */

/** What {@linkcode watchBody} does beside passing the body on. */
export interface BodyWatch {
  /** Called once: when the body has been read to its end, has failed, or nobody wants it any more. At once if there is none. */
  done?(): void;
  /** After so many milliseconds the body fails. */
  cutAfterMs?: number;
}

/** The same answer, with its body watched. `bodiless`: nobody will read the body (HEAD). */
export function watchBody(
  response: Response,
  watch: BodyWatch,
  bodiless: boolean,
): Response {
  if (response.body === null || bodiless || response.status < 200) {
    watch.done?.();
    return response;
  }
  const reader = response.body.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const end = () => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    watch.done?.();
  };
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      if (watch.cutAfterMs === undefined) return;
      timer = setTimeout(() => {
        const reason = new DOMException(
          "The answer took too long.",
          "TimeoutError",
        );
        end();
        controller.error(reason);
        reader.cancel(reason).catch(() => {});
      }, watch.cutAfterMs);
    },
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (over) return;
        if (!done) return controller.enqueue(value);
        end();
        controller.close();
      } catch (error) {
        end();
        controller.error(error);
      }
    },
    cancel(reason) {
      end();
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
  return new Response(body, response);
}
