/** A browser as far as a sign-in needs one: it keeps cookies by host and path and follows redirects to the end. */
export interface Page {
  readonly url: string;
  readonly status: number;
  readonly body: string;
}

interface Cookie {
  readonly host: string;
  readonly path: string;
  readonly name: string;
  readonly value: string;
}

export interface Browser {
  readonly cookies: readonly Cookie[];
  /** Every address that it was sent to, in order. */
  readonly visited: readonly string[];
  /** Opens an address and follows; `until` stops before an address is asked. */
  open(url: string, until?: (url: string) => boolean): Promise<Page>;
  /** Takes the cookies of an answer that a script got. */
  keep(url: string, headers: Headers): void;
  /** What it would send to that address. */
  cookieHeader(url: string): string;
}

const redirectsMax = 20;

export function aBrowser(): Browser {
  let cookies: Cookie[] = [];
  const visited: string[] = [];

  const keep = (url: string, headers: Headers): void => {
    const { hostname, port, pathname } = new URL(url);
    for (const line of headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
      const [name = '', ...rest] = pair.split('=');
      const read = (wanted: string): string | undefined =>
        attributes.find((one) => one.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1);
      const path = read('path') ?? pathname.slice(0, pathname.lastIndexOf('/') + 1);
      const host = `${hostname}:${port}`;
      cookies = cookies.filter((one) => one.host !== host || one.name !== name || one.path !== path);
      const expires = read('expires');
      const isOver = read('max-age') === '0' || (expires !== undefined && Date.parse(expires) < Date.now());
      if (!isOver) cookies.push({ host, path, name, value: rest.join('=') });
    }
  };
  const cookieHeader = (url: string): string => {
    const { hostname, port, pathname } = new URL(url);
    return cookies
      .filter(({ host, path }) => host === `${hostname}:${port}` && pathname.startsWith(path))
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
  };

  return {
    get cookies() {
      return cookies;
    },
    visited,
    keep,
    cookieHeader,
    async open(start, until = () => false) {
      let url = start;
      for (let count = 0; count < redirectsMax; count += 1) {
        if (until(url)) return { url, status: 0, body: '' };
        visited.push(url);
        const cookie = cookieHeader(url);
        const response = await fetch(url, {
          redirect: 'manual',
          headers: { accept: 'text/html', ...(cookie === '' ? {} : { cookie }) },
        });
        keep(url, response.headers);
        const location = response.headers.get('location');
        const body = await response.text();
        if (location === null) return { url, status: response.status, body };
        url = new URL(location, url).href;
      }
      throw new Error('too many redirects');
    },
  };
}
