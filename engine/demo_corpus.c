/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/demo_corpus.c - what the demo model has read: plain prose, written
 * for it, about the library of a small harbour town. A paragraph a string. */
#include "engine/demo_model.h"

const char *const demo_corpus[] = {
    "The library stands at the end of the harbour wall, where the old fish "
    "market used to be. It is a low building of grey stone with a green roof, "
    "and in winter the spray reaches its windows. The town has nine hundred "
    "people and the library has eleven thousand books, so every reader could "
    "take twelve of them home at once. Nobody ever does, because the library "
    "lends six books at a time and the librarian keeps count.",

    "The library opens at nine in the morning and closes at six in the "
    "evening. On Thursday it stays open until eight, because the fishing boats "
    "come in late on Thursday and the crews like to read after supper. On "
    "Sunday the doors are closed, but the porch is left open, and there is a "
    "bench in the porch with a shelf of books that anyone may take and nobody "
    "has to bring back. Most of them come back all the same.",

    "Marta Venn has been the librarian for twenty years. She came to the town "
    "as a teacher, and she still speaks slowly and clearly, as teachers do. "
    "She knows what each reader has read, and she knows what each reader says "
    "to have read. When someone asks her a question, she does not give the "
    "answer at once. She walks to the shelf, takes down a book, opens it at "
    "the right page and puts it on the table. Then she goes away, so that the "
    "reader can find the answer alone.",

    "A library card costs nothing. To get a card, a reader gives a name and an "
    "address and signs a small green form. The card is valid for one year. A "
    "child may have a card from the age of five, and the first card of a child "
    "is signed by a parent as well. Visitors who stay in the town for less "
    "than a month may read in the library as long as they like, but they may "
    "not take books home.",

    "A book may be kept for four weeks. If nobody else is waiting for the "
    "book, it may be kept for another four weeks, and the reader only has to "
    "ask. A book that comes back late costs nothing for the first week. After "
    "that the reader pays a small fine, and the fine goes into a glass jar "
    "beside the door. Once a year the jar is emptied and the money buys one "
    "new book, which the readers choose by a vote.",

    "The harbour has two walls, a lighthouse and room for thirty boats. The "
    "northern wall is the older one. It was built of stones that came as "
    "ballast in ships from the south, and some of the stones still carry the "
    "marks of the masons. The lighthouse stands at the end of the northern "
    "wall. It has a white light that turns four times a minute, and a horn for "
    "the days of fog. The keeper of the light reads more than anyone else in "
    "the town, because the nights are long and the light turns by itself.",

    "When the fog comes in from the sea, the town grows quiet. The boats stay "
    "at the wall and the crews come to the library to read the newspapers. The "
    "newspapers come by the morning train and are laid out on the long table "
    "by the window. There are seven of them, and two are in other languages. "
    "Some readers begin with the weather, some with the price of fish, and old "
    "Captain Brook always begins with the last page and reads towards the "
    "front. He says that the news is easier to bear in that order.",

    "The oldest book in the library is a log of a ship, written by hand three "
    "hundred years ago. It lies in a case of glass near the stairs, and every "
    "Monday the librarian turns one page. The log tells of wind and weather, "
    "of what was eaten and what was lost, and of a long summer in the north "
    "when the sea was as flat as a plate. Nobody knows how the log came to the "
    "town. The ship never did.",

    "A good log is written on the day itself. The captain of the ship wrote "
    "down what he saw, in the order in which he saw it, and he never tore out "
    "a page. Where he had made a mistake, he drew a line through the words so "
    "that they could still be read, and wrote the right words beside them with "
    "the date. For this reason people believed his log, and in the end it was "
    "worth more than the cargo. The librarian keeps the register of loans in "
    "the same way.",

    "Every loan is written in the register: who took the book, which book it "
    "was, on what day, and when it has to come back. The register is kept "
    "under the desk. Readers may see their own page of the register whenever "
    "they ask, and they may not see the page of anyone else. Twice a year a "
    "member of the town council comes and counts the books, and compares the "
    "shelves with the register. So far the two have always agreed, except for "
    "one atlas, and the atlas was found on a boat.",

    "There are rules in the library, and they hang beside the door where "
    "everyone can read them. Keep your voice low. Wash your hands after "
    "working with nets. Do not write in the books. Bring each book back to the "
    "desk and not to the shelf, because a book in the wrong place is a lost "
    "book. A reader who breaks a rule is told so once, in a friendly voice. A "
    "reader who breaks it twice is told by Captain Brook.",

    "The children come on Wednesday afternoon. They sit on the floor between "
    "the shelves and the librarian reads to them for an hour. She reads about "
    "whales and pirates, about islands and storms, and she stops at the best "
    "place, so that they come again. After the reading each child may choose "
    "one book. The small ones choose by the picture, the older ones by the "
    "first sentence, and the oldest of them say that they choose by the last "
    "one.",

    "In the cellar there is a workshop where books are mended. A book that has "
    "lost its back is sewn again with linen thread and glued with paste made "
    "of flour. Salt is the enemy of paper, and so is the damp, and a harbour "
    "has enough of both. Tomas the sailmaker helps on two days a week. He says "
    "that a book and a sail are the same work: many sheets, one strong seam, "
    "and patience at the corners.",

    "The library has one room for maps and charts. The charts show the coast, "
    "the depth of the water and the rocks that have names. Each spring the "
    "harbour master comes with a list of changes, and the charts are corrected "
    "with red ink. An old chart is never thrown away. It is marked as old and "
    "put into the long drawer, because someone may want to know where the sand "
    "lay a hundred years ago. The sand moves, and the names stay.",

    "People ask the library all kinds of questions. When is high water "
    "tomorrow? How do you get tar out of wool? What was the name of the doctor "
    "who lived in the yellow house? The librarian writes each question on a "
    "card, and the answer below it, and where the answer was found. There are "
    "now more than four thousand cards. If the same question comes again, the "
    "answer is ready, and if the answer has changed, the card shows that too.",

    "In the summer the visitors come. They walk along the wall, look at the "
    "boats and ask for the way to the lighthouse. When it rains, they come to "
    "the library and stand by the door with wet shoes. The librarian gives "
    "them a towel and a book about the town. It is a thin book and it takes "
    "about an hour to read, which is as long as the rain lasts on most days.",

    "In the winter the library is the warmest room in the town. The stove is "
    "lit at eight, and the first readers are at the door before nine. They "
    "bring their own cups, and there is always tea. Some of them read and some "
    "of them sleep, and the librarian lets them sleep until the evening. Then "
    "she puts out the lamps one after another, from the back of the room to "
    "the front, and everyone knows that it is time to go home.",

    "Once the sea came into the library. It was in the great storm, nearly "
    "fifty years ago, and the water stood as high as the second shelf. The "
    "whole town came at night with lamps and baskets. They carried the books "
    "up the hill to the church, and the crews made a chain from the door to "
    "the top of the street. By the morning not one book was lost. Since then "
    "the lowest shelf in the library has been empty, and it will stay so.",
};

const size_t demo_corpus_count = sizeof demo_corpus / sizeof demo_corpus[0];
