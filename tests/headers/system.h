/* What fastconv's C takes from the C library and POSIX, declared for a compiler that has the headers of no system but
 * its own: enough to check the sources for another one. Each header of the names that they include leads here. */
#ifndef TEST_SYSTEM_H
#define TEST_SYSTEM_H

#include <stddef.h>

#define isfinite(x) __builtin_isfinite(x)
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define isnan(x) __builtin_isnan(x)
double fma(double, double, double);
double sqrt(double);
double exp(double);
double tanh(double);
double erf(double);
double erfc(double);
double fabs(double);
double rint(double);
float rintf(float);
long long llabs(long long);
#define complex _Complex
double creal(double complex);
double cimag(double complex);
float complex conjf(float complex);
double complex conj(double complex);

void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int strcmp(const char *, const char *);

typedef struct {
    long words[8];
} pthread_mutex_t, pthread_cond_t, pthread_attr_t, pthread_once_t;
typedef struct thread *pthread_t;
typedef unsigned sigset_t;
#define PTHREAD_MUTEX_INITIALIZER {{0}}
#define PTHREAD_COND_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#define PTHREAD_ONCE_INIT PTHREAD_MUTEX_INITIALIZER
#define PTHREAD_CREATE_DETACHED 2
#define SIG_SETMASK 3
int pthread_mutex_lock(pthread_mutex_t *);
int pthread_mutex_unlock(pthread_mutex_t *);
int pthread_cond_wait(pthread_cond_t *, pthread_mutex_t *);
int pthread_cond_signal(pthread_cond_t *);
int pthread_cond_broadcast(pthread_cond_t *);
int pthread_attr_init(pthread_attr_t *);
int pthread_attr_destroy(pthread_attr_t *);
int pthread_attr_setstacksize(pthread_attr_t *, size_t);
int pthread_attr_setdetachstate(pthread_attr_t *, int);
int pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_equal(pthread_t, pthread_t);
pthread_t pthread_self(void);
int pthread_once(pthread_once_t *, void (*)(void));
int pthread_atfork(void (*)(void), void (*)(void), void (*)(void));
int pthread_sigmask(int, const sigset_t *, sigset_t *);
int sigfillset(sigset_t *);

struct timespec {
    long tv_sec, tv_nsec;
};
#define CLOCK_MONOTONIC 6
int clock_gettime(int, struct timespec *);

typedef int jmp_buf[64];
int setjmp(jmp_buf);
void longjmp(jmp_buf, int) __attribute__((noreturn));

#endif
