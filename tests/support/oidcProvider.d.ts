/** As much of npm's oidc-provider as the tests call; it comes without types of its own. */
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http';

  interface Token {
    readonly accountId: string;
    readonly isExpired: boolean;
    destroy(): Promise<void>;
  }
  interface TokenClass {
    find(value: string): Promise<Token | undefined>;
    revokeByGrantId(id: string): Promise<void>;
  }
  interface Grant {
    addOIDCScope(scope: string): void;
    addResourceScope(resource: string, scope: string): void;
    save(): Promise<string>;
    destroy(): Promise<void>;
  }
  interface Interaction {
    readonly prompt: { readonly name: string };
    readonly params: Readonly<Record<string, unknown>>;
    readonly grantId?: string;
    readonly session?: { readonly accountId?: string };
  }
  interface Context {
    readonly method: string;
    readonly path: string;
    readonly status: number;
    readonly oidc?: { readonly params?: Readonly<Record<string, unknown>> };
  }
  export class Provider {
    constructor(issuer: string, configuration: object);
    readonly AccessToken: TokenClass;
    readonly RefreshToken: TokenClass;
    readonly Grant: {
      new (of: { accountId: string; clientId: string }): Grant;
      find(id: string): Promise<Grant | undefined>;
    };
    use(middleware: (ctx: Context, next: () => Promise<void>) => Promise<void>): void;
    callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>;
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<Interaction>;
    interactionFinished(request: IncomingMessage, response: ServerResponse, result: object): Promise<void>;
  }
}
