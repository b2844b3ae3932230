/* QuickJS does not limit its stack where it sees WASI, so that deep recursion would be a trap and no exception. The
   system's headers see WASI; QuickJS takes it for something that has `malloc_usable_size` too. */
#include <wasi/api.h>
#undef __wasi__
#define __GLIBC__ 2
