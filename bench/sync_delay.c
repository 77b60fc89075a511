/* Adds BENCH_SYNC_DELAY_US microseconds to every fsync and fdatasync: a slower disk, the same program.
   cc -shared -fPIC -o sync_delay.so sync_delay.c -ldl ; LD_PRELOAD=./sync_delay.so BENCH_SYNC_DELAY_US=2000 … */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void wait_a_little(void) {
  const char *text = getenv("BENCH_SYNC_DELAY_US");
  long us = text ? atol(text) : 0;
  struct timespec pause = {us / 1000000, (us % 1000000) * 1000};
  if (us > 0) nanosleep(&pause, NULL);
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  wait_a_little();
  return real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  wait_a_little();
  return real(fd);
}
