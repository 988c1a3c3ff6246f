/** `npm run bench`: the benchmark of `bench/`, found where the bootstrap finds every program. */
import '../bench/main.js';
