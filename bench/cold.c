/*
 * cold.c - what it costs to touch memory again that was idle for two seconds: the
 * median of five, in microseconds a page.
 *
 * A virtual machine's host may take the mappings of idle pages away; then whatever
 * has slept until an instant is late by that for each page that it needs.  It grows
 * with the time slept, and huge pages are hardly touched by it.  Figures of starts
 * that follow a pause are to be read beside this one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGES 2000
#define PAGE_SIZE 4096
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

int
main(void)
{
	char *memory = aligned_alloc(PAGE_SIZE, (size_t) PAGES * PAGE_SIZE);
	volatile long sum = 0;
	double took[ROUNDS];
	int i;
	int k;

	if (memory == NULL)
		return 1;
	memset(memory, 1, (size_t) PAGES * PAGE_SIZE);
	for (k = 0; k < ROUNDS; k++)
	{
		double begin;

		sleep(2);
		begin = now_us();
		for (i = 0; i < PAGES; i++)
			sum += memory[(size_t) i * PAGE_SIZE + i % 64 * 64];
		took[k] = (now_us() - begin) / PAGES;
	}
	qsort(took, ROUNDS, sizeof(double), compare);
	printf("%.2f\n", took[ROUNDS / 2]);
	return 0;
}
