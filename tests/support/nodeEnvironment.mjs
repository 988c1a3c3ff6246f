// jest runs each test file in a realm of its own, with an `Error` of its own, so that an error of Node's (ENOENT) would
// be no instance of it there, as it is everywhere else. This environment lets `instanceof Error` say what it says in
// production; for subclasses it stays as it is.
import { types } from 'node:util';
import { TestEnvironment } from 'jest-environment-node';

export default class extends TestEnvironment {
  async setup() {
    await super.setup();
    const { Error: realmError, Function: realmFunction } = this.global;
    const usual = realmFunction.prototype[Symbol.hasInstance];
    Object.defineProperty(realmError, Symbol.hasInstance, {
      value(thrown) {
        return usual.call(this, thrown) || (this === realmError && types.isNativeError(thrown));
      },
    });
  }
}
