// Runs a kernel by name. Included after the kernels and the table of their names.
#include <csetjmp>
#include <ucontext.h>

// One thread of a block that meets others at barriers: a stack of its own and where it stopped.
struct Fiber {
    ucontext_t start;
    jmp_buf place;
    std::vector<char> stack = std::vector<char>(1 << 16);
    bool started, done;
};

static thread_local std::vector<Fiber*> fibers;
static thread_local Fiber* running = nullptr;
static thread_local jmp_buf scheduler;
static thread_local ucontext_t scheduler_start;
static thread_local void (*body)(Arguments) = nullptr;
static thread_local const Arguments* given = nullptr;

static void reach_barrier() {
    if (running == nullptr) {
        std::fprintf(stderr, "a kernel met a barrier but was launched as one without\n");
        std::abort();
    }
    if (_setjmp(running->place) == 0) {
        _longjmp(scheduler, 1);
    }
}

static void run_fiber() {
    body(*given);
    running->done = true;
    _longjmp(scheduler, 1);
}

static void place_thread(unsigned i) {
    threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
}

// Runs a fiber until its next barrier or its end.
static void resume(Fiber* fiber) {
    running = fiber;
    if (_setjmp(scheduler) == 0) {
        if (fiber->started) {
            _longjmp(fiber->place, 1);
        }
        fiber->started = true;
        getcontext(&fiber->start);
        fiber->start.uc_stack.ss_sp = fiber->stack.data();
        fiber->start.uc_stack.ss_size = fiber->stack.size();
        fiber->start.uc_link = nullptr;
        makecontext(&fiber->start, run_fiber, 0);
        swapcontext(&scheduler_start, &fiber->start);
    }
    running = nullptr;
}

// Whether all threads reached the same number of barriers.
static bool run_together(unsigned threads) {
    while (fibers.size() < threads) {
        fibers.push_back(new Fiber());
    }
    for (unsigned i = 0; i < threads; i++) {
        fibers[i]->started = fibers[i]->done = false;
    }
    for (;;) {
        unsigned done = 0;
        for (unsigned i = 0; i < threads; i++) {
            place_thread(i);
            resume(fibers[i]);
            done += fibers[i]->done;
        }
        if (done == threads) {
            return true;
        }
        if (done != 0) {
            return false;
        }
    }
}

// 0: it ran; 1: no such kernel; 2: some threads of a block waited for others that had ended.
extern "C" int flow_cuda_emulate(const char* name, const Arguments* arguments, const unsigned* grid,
                                 const unsigned* block, int cooperates) {
    body = nullptr;
    for (const Kernel& kernel : KERNELS) {
        if (std::strcmp(kernel.name, name) == 0) {
            body = kernel.run;
        }
    }
    if (body == nullptr) {
        return 1;
    }
    given = arguments;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    unsigned threads = block[0] * block[1] * block[2];
    for (unsigned z = 0; z < grid[2]; z++) {
        for (unsigned y = 0; y < grid[1]; y++) {
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                if (cooperates) {
                    if (!run_together(threads)) {
                        return 2;
                    }
                    continue;
                }
                for (unsigned i = 0; i < threads; i++) {
                    place_thread(i);
                    body(*arguments);
                }
            }
        }
    }
    return 0;
}
