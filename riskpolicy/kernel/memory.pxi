# Arrays whose memory is used again: clearing fresh pages would cost as much as the arithmetic on them.

cdef extern from *:
    """
    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif

    /* Large blocks in large pages, where there are such: ranks are written at random. */
    static void *riskpolicy_take(size_t size) {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        void *memory = NULL;
        if (size >= (size_t)1 << 21) {
            if (posix_memalign(&memory, (size_t)1 << 21, size)) return NULL;
            madvise(memory, size, MADV_HUGEPAGE);
            return memory;
        }
    #endif
        return malloc(size);
    }
    """
    void* _take "riskpolicy_take"(size_t)

# This many bytes at most wait to be used again.
cdef size_t MOST_WAITING = <size_t>1 << 30
cdef size_t _waiting_bytes = 0
cdef dict _waiting = {}


cdef class Block:
    """Memory that goes back to wait for the next array of its size when the last view of it is gone."""

    cdef char* memory
    cdef Py_ssize_t size

    def __cinit__(self, Py_ssize_t size):
        global _waiting_bytes
        cdef list same = _waiting.get(size)
        self.size = size
        if same:
            self.memory = <char*><uintptr_t>same.pop()
            _waiting_bytes -= size
        else:
            self.memory = <char*>_take(size)
            if self.memory == NULL:
                raise MemoryError

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.memory, self.size, 0, flags)

    def __dealloc__(self):
        global _waiting_bytes
        if self.memory == NULL:
            return
        if _waiting_bytes + self.size > MOST_WAITING:
            free(self.memory)
        else:
            _waiting.setdefault(self.size, []).append(<uintptr_t>self.memory)
            _waiting_bytes += self.size


def block(Py_ssize_t size):
    """Return an object with a writable buffer of `size` bytes, not cleared."""
    return Block(size)


def release():
    """Give the waiting memory back to the system; return how many bytes there were."""
    global _waiting_bytes
    cdef size_t released = _waiting_bytes
    for same in _waiting.values():
        for memory in same:
            free(<char*><uintptr_t>memory)
    _waiting.clear()
    _waiting_bytes = 0
    return released
