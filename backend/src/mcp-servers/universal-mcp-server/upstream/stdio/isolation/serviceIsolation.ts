/** What a service makes of the isolation that was found: what its config asks for, and what the installation insists on. */
import type { SandboxPolicy } from '../../../../../catalog/mcpServerDefinitions.js';
import { AppError } from '../../../../../errors/appError.js';
import type { ReadinessCheck } from '../../../../../services/readiness.js';
import type { ChildIsolation } from './childIsolation.js';

export interface ServiceIsolation extends ChildIsolation {
  /** Whether children are refused, since there is no isolation and somebody insists on it. */
  readonly isRefused: boolean;
}

export interface ServiceIsolationOptions {
  readonly found: ChildIsolation;
  /** A plain child, for a service whose admin trusts its program. */
  readonly plain: ChildIsolation['launch'];
  readonly sandbox: SandboxPolicy;
  /** `REQUIRE_ISOLATION`: it outweighs what a service says. */
  readonly isRequired: boolean;
}

export function toServiceIsolation(options: ServiceIsolationOptions): ServiceIsolation {
  const { found, plain, sandbox, isRequired } = options;
  if (sandbox.mode === 'off' && !isRequired) {
    return { form: 'none', launch: plain, isRefused: false, lacks: 'its config switches it off' };
  }
  const isRefused = found.form === 'none' && (isRequired || sandbox.mode === 'required');
  if (!isRefused) return { ...found, isRefused };
  return {
    ...found,
    isRefused,
    launch() {
      throw new AppError('SERVICE_UNAVAILABLE', `children cannot be kept apart here: ${found.lacks}`, {
        publicDetail:
          'This service may only run isolated, which this machine does not allow. An admin can install bubblewrap (apt install bubblewrap), or run Portolan as root.',
      });
    },
  };
}

/** For `/health` and `/readyz`: a service that may start no child is not ready. */
export function toIsolationCheck(isolation: ServiceIsolation): ReadinessCheck {
  return { status: isolation.isRefused ? 'failed' : 'ok', reason: describeIsolation(isolation) };
}

/** For logs, `/health` and `npm run status`. */
export function describeIsolation({ form, lacks, isRefused }: ServiceIsolation): string {
  if (isRefused) return `isolation is required and there is none: ${lacks}`;
  return form === 'none' ? `none: ${lacks}` : form;
}
