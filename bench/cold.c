/*
 * cold.c - what it costs to touch memory again that was idle for two seconds, in
 * ordinary pages and in huge ones: the medians of five, in microseconds for 4 kB.
 *
 * A virtual machine's host may take the mappings of idle pages away; then whatever
 * has slept until an instant is late by that for each page that it needs.  It grows
 * with the time slept, and huge pages are hardly touched by it.  Figures of starts
 * that follow a pause are to be read beside this one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGES 2048
#define PAGE_SIZE 4096
#define HUGE_PAGE_SIZE (2048 * 1024)
#define LENGTH ((size_t) PAGES * PAGE_SIZE)
#define ROUNDS 5

static double
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Prints the median for memory that the system was given this advice for. */
static void
measure(int advice)
{
	char *memory = aligned_alloc(HUGE_PAGE_SIZE, LENGTH);
	volatile long sum = 0;
	double took[ROUNDS];
	int i;
	int k;

	if (memory == NULL || madvise(memory, LENGTH, advice) != 0)
		return;
	memset(memory, 1, LENGTH);
	for (k = 0; k < ROUNDS; k++)
	{
		double begin;

		sleep(2);
		begin = now_us();
		for (i = 0; i < PAGES; i++)
			sum += memory[(size_t) i * PAGE_SIZE + i % 64 * 64];
		took[k] = (now_us() - begin) / PAGES;
	}
	free(memory);
	qsort(took, ROUNDS, sizeof(double), compare);
	printf("%.2f ", took[ROUNDS / 2]);
}

int
main(void)
{
	measure(MADV_NOHUGEPAGE);
	measure(MADV_HUGEPAGE);
	putchar('\n');
	return 0;
}
